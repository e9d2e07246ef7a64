"""The bound of the stack that a header gives, against what is used, and how it is read off."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from hqc.codegen.footprint import NotUnderstoodError, frames
from hqc.codegen.toolchain import Toolchain
from hqc.targets import load_target
from tests.embed.programs import compiled, defined, linked, small_network

OWN = 96
"""What the program's own function takes that calls the entries."""


@pytest.mark.parametrize("target", ["host", "arm-a72", "rv32imc", "cortex-m4", "cortex-m0plus"])
@pytest.mark.parametrize("kind", ["events", "image"])
def test_no_more_is_used_than_the_header_says(kind, target, tmp_path):
    model = small_network(tmp_path / "net.onnx", scale=0.75, kind=kind)
    library = compiled(model, target, tmp_path / "net")
    command = linked(target, library, "stack.c", tmp_path / "program")
    # The first call of memcpy would look for it, on this stack.
    environment = {**os.environ, "LD_BIND_NOW": "1"}
    done = subprocess.run(command, capture_output=True, check=True, env=environment)
    before, used = np.frombuffer(done.stdout, "<i4")
    bound = defined(library)["STACK_BYTES"]
    assert before < used <= bound + OWN
    assert bound < 4 * used


KNOWN = [
    ("cortex-m4", "push {r4, r7, lr}; add r7, sp, #4; sub sp, #1024; mov r4, sp; bfc r4, #0, #6; "
     "mov sp, r4; sub.w r4, r7, #4; mov sp, r4; pop {r4, r7, pc}", 12 + 1024 + 64),
    ("cortex-m55", ".fpu fpv5-d16; vpush {d8, d9}; sub.w sp, sp, #8192; subw sp, sp, #2052; bx lr",
     2 * 16 + 8192 + 2052),
    ("cortex-m0plus", "ldr r6, [pc, #4]; add sp, r6; bx lr; nop; .word -2000", 2000),
    ("cortex-m0plus", "mov r4, sp; lsrs r4, r4, #5; lsls r4, r4, #5; mov sp, r4", 32),
    ("armv7-a7", "push {r4, lr}; b 1f; .word 0x01290129, 0x01290129; 1: sub sp, sp, #64; bx lr",
     8 + 64),
    ("arm-a72", "sub x9, sp, #1, lsl #12; sub x9, x9, #32; and sp, x9, #0xffffffffffffff80",
     4096 + 32 + 128),
    ("arm-a72", "stp x29, x30, [sp, #-48]!; mov x29, sp; sub sp, sp, #16; mov sp, x29; "
     "ldp x29, x30, [sp], #48", 64),
    ("rv32imc", "addi sp, sp, -2032; lui t0, 2; addi t0, t0, -16; sub sp, sp, t0; ret",
     2032 + 8192 - 16),
    ("rv32imc", "addi sp, sp, -64; andi sp, sp, -256; addi sp, s0, -64", 64 + 256),
    ("rv64gcv", "csrr t0, vlenb; li t1, 152; mul t0, t0, t1; sub sp, sp, t0", 152 * 128),
    ("rv64gcv", "csrr t0, vlenb; slli t1, t0, 5; sub t0, t1, t0; sub sp, sp, t0", 31 * 128),
]  # fmt: skip
UNKNOWN = [
    ("cortex-m4", "sub sp, sp, r2"),
    ("cortex-m4", "mov sp, r3"),
    ("cortex-m4", "ldr r3, [r0]; mov r2, sp; subs r2, r2, r3; mov sp, r2"),
    ("cortex-m0plus", "add sp, r1"),
    ("arm-a72", "sub x8, sp, x0; mov sp, x8"),
    ("arm-a72", "sub sp, sp, x1, lsl #4"),
    ("rv32imc", "sub sp, sp, a0"),
    ("rv32imc", "lui t0, 1; lw t0, 0(a0); sub sp, sp, t0"),
    ("rv64gcv", "csrr t0, vlenb; mul t0, t0, a0; sub sp, sp, t0"),
]


def assembled(target, text, folder):
    """An object of one function."""
    lines = text.replace("; ", "\n")
    thumb = ".thumb_func" if target.startswith("cortex") else ""
    source = f".text\n{thumb}\n.globl f\n.type f, %function\nf:\n{lines}\n.size f, . - f\n"
    (folder / "f.S").write_text(source)
    command = Toolchain.of(load_target(target)).compiler
    subprocess.run([*command, "-c", "f.S", "-o", "f.o"], cwd=folder, check=True)
    return folder / "f.o"


@pytest.mark.parametrize(("target", "text", "size"), KNOWN)
def test_frames_of_every_kind_are_counted(target, text, size, tmp_path):
    assert frames(assembled(target, text, tmp_path)) == {"f": size}


@pytest.mark.parametrize(("target", "text"), UNKNOWN)
def test_a_frame_of_a_size_that_is_not_known_is_an_error(target, text, tmp_path):
    with pytest.raises(NotUnderstoodError, match=r"f: the stack that .* takes is not known"):
        frames(assembled(target, text, tmp_path))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("add $-128, %rsp; push %rbx; pop %rbx; sub $-128, %rsp; ret", 8 + 128 + 8),
        ("push %rbp; mov %rsp, %rbp; and $-64, %rsp; sub $192, %rsp; mov %rbp, %rsp; ret", 272),
        ("sub %rax, %rsp; ret", None),
        ("mov %rax, %rsp; ret", None),
    ],
)
def test_frames_of_x86(text, size, tmp_path):
    lines = text.replace("; ", "\n")
    (tmp_path / "f.S").write_text(f".globl f\n.type f, @function\nf:\n{lines}\n.size f, . - f\n")
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-musl"]
    subprocess.run([*zig, "-c", "f.S", "-o", "f.o"], cwd=tmp_path, check=True)
    if size is None:
        with pytest.raises(NotUnderstoodError, match="is not known"):
            frames(tmp_path / "f.o")
    else:
        assert frames(tmp_path / "f.o") == {"f": size}
