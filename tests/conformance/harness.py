"""Kernels alone, on any target: one program that calls each case whole and step by step.

Where a kernel's rows can be computed by several calls, a second whole run does that: as many calls
as there are rows, at most three, the last first, each with scratch areas that hold anything.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import tvm

from hqc.codegen.compiler_routines import take_over
from hqc.codegen.footprint import frames
from hqc.codegen.kernels import (
    Constant,
    Input,
    KernelCall,
    Output,
    Scratch,
    State,
    Stride,
    is_each_calls_own,
)
from hqc.codegen.library import c_types
from hqc.codegen.tir import write_object
from hqc.codegen.toolchain import Toolchain
from hqc.emulator import program_command
from hqc.targets import Target

GUARD = 64
MEMORY = 1 << 23
"""Bytes for a case's activations, constants and areas; the smallest board has twice as many."""

_MAIN = """
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#define GUARD %(guard)d
/* Inlined into each other, cases take the compiler minutes. */
#define APART __attribute__((noinline)) static
static uint8_t memory[%(memory)d] __attribute__((aligned(64)));
static uint8_t *top;
APART uint8_t *area(size_t size) {
    uint8_t *at = top;
    top += (size + 63) / 64 * 64 + GUARD;
    if (top > memory + sizeof memory) fprintf(stderr, "out of memory\\n");
    return at;
}
APART uint8_t *load(size_t size) {
    uint8_t *at = area(size);
    if (fread(at, 1, size, stdin) != size) fprintf(stderr, "short input\\n");
    return at;
}
APART int guarded(const uint8_t *at, size_t size) {
    size_t i, end = (size + 63) / 64 * 64 + GUARD;
    for (i = size; i < end; i++) if (at[i] != 0xA5) return 0;
    return 1;
}
%(prototypes)s
%(cases)s
int main(void) {
%(calls)s
    return 0;
}
"""


@dataclass(frozen=True, eq=False)
class Case:
    """A kernel call, what its activations hold, and the output that its op's reference gives."""

    name: str
    call: KernelCall
    inputs: Sequence[np.ndarray]
    expected: np.ndarray
    time_steps: int
    lasts: bool
    """Whether the output is of all time steps, not one a step."""


def _taken(size: int) -> int:
    """What an area of that size takes, its guard included."""
    return -(-size // 64) * 64 + GUARD


def _case_text(name: str, symbol: str, case: Case) -> str:
    """A C function that runs the case whole, step by step and by parts, all into the same areas,
    and writes what each gives."""
    lines, whole, steps, checks, own, used = [], [], [], [], [], 0
    for number, operand in enumerate(case.call.operands):
        area = f"p{number}"
        match operand:
            case Input(i):
                size = case.inputs[i].nbytes
                used += _taken(size)
                lines.append(f"uint8_t *{area} = load({size});")
                whole.append(f"(void *){area}")
                each = 0 if case.inputs[i].ndim == 2 else size // case.time_steps
                steps.append(f"(void *)({area} + t * {each})")
            case Constant(array):
                used += _taken(array.nbytes)
                lines.append(f"uint8_t *{area} = load({array.nbytes});")
                whole.append(f"(void *){area}")
                steps.append(f"(void *){area}")
            case Output():
                size = case.expected.nbytes
                used += _taken(size)
                lines.append(f"uint8_t *{area} = area({size}), *out = {area};")
                checks.append((area, size))
                each = 0 if case.lasts else size // case.time_steps
                whole.append(f"(void *){area}")
                steps.append(f"(void *)({area} + t * {each})")
            case Scratch(size) | State(_, size):
                own += [(area, size)] if is_each_calls_own(operand, computes_all=True) else []
                used += _taken(size)
                lines.append(f"uint8_t *{area} = area({size});")
                checks.append((area, size))
                whole.append(f"(void *){area}")
                steps.append(f"(void *){area}")
            case Stride(elements):
                whole.append("0")
                steps.append(str(elements))
    guards = " && ".join(f"guarded({area}, {size})" for area, size in checks)
    size, rows = case.expected.nbytes, case.call.rows
    parts, every, some = 1, "", ""
    if rows:
        parts = min(rows, 3)
        every, some = ", 0, 1", f", part, {parts}"
    return "\n".join(
        [
            f"APART void {name}(void) {{ /* {case.name} */",
            "    int32_t t, part;",
            f"    memset(memory, 0xA5, {used}); top = memory;",
            *(f"    {line}" for line in lines),
            f"    {symbol}({', '.join(whole)}, 0, {case.time_steps}{every});",
            f"    fwrite(out, {size}, 1, stdout);",
            f"    memset(out, 0xA5, {size});",
            f"    for (t = 0; t < {case.time_steps}; t++)",
            f"        {symbol}({', '.join(steps)}, t, 1{every});",
            f"    fwrite(out, {size}, 1, stdout);",
            f"    memset(out, 0xA5, {size});",
            f"    for (part = {parts} - 1; part >= 0; part--) {{",
            *(f"        memset({area}, 0xA5, {bytes_});" for area, bytes_ in own),
            f"        {symbol}({', '.join(whole)}, 0, {case.time_steps}{some});",
            "    }",
            f"    fwrite(out, {size}, 1, stdout);",
            f'    if (!({guards})) fprintf(stderr, "{case.name}: wrote outside\\n");',
            "}",
        ]
    )


@cache
def _built(call: KernelCall) -> tvm.tirx.PrimFunc:
    """The function of a call, which is the same for all targets that have vectors, or have none."""
    return call.build()


def outputs(cases: Sequence[Case], target: Target, folder: Path) -> list[tuple[np.ndarray, ...]]:
    """What each case computes on the target: whole, step by step, and whole by parts.

    Calls of one key share a function here too, which shows that their keys say what they need.
    """
    calls = {case.call.key: case.call for case in cases}
    symbols = {key: f"kernel_{number}" for number, key in enumerate(calls)}
    functions = {symbols[key]: _built(call) for key, call in calls.items()}
    prototypes = [
        f"void {symbols[key]}({', '.join(c_types(functions[symbols[key]], call))});"
        for key, call in calls.items()
    ]
    text = _MAIN % {
        "guard": GUARD,
        "memory": MEMORY,
        "prototypes": "\n".join(prototypes),
        "cases": "\n".join(
            _case_text(f"case_{number}", symbols[case.call.key], case)
            for number, case in enumerate(cases)
        ),
        "calls": "\n".join(f"    case_{number}();" for number in range(len(cases))),
    }
    (folder / "main.c").write_text(text)
    write_object(functions, target.tvm_target(), folder / "kernels.o")
    if not target.is_wasm:
        assert set(symbols.values()) <= set(frames(folder / "kernels.o")), "of unknown stack"
    toolchain = Toolchain.of(target)
    routines = take_over(["kernels.o"], "case", toolchain, folder)
    toolchain.program(["main.c", "kernels.o", *routines], "main", folder)
    feed = b"".join(
        (case.inputs[o.index] if isinstance(o, Input) else o.array).tobytes()
        for case in cases
        for o in case.call.operands
        if isinstance(o, Input | Constant)
    )
    command = program_command(target, folder / "main")
    done = subprocess.run(command, input=feed, capture_output=True, check=True)
    assert not done.stderr, done.stderr.decode()
    results, at = [], 0
    for case in cases:
        made = []
        for _ in range(3):
            part = np.frombuffer(done.stdout, case.expected.dtype, case.expected.size, at)
            made.append(part.reshape(case.expected.shape))
            at += case.expected.nbytes
        results.append(tuple(made))
    assert at == len(done.stdout)
    return results
