"""The program that times a compiled model on the device: `NAME_bench`, which needs nothing else.

Its recordings travel in it, with the logits that the integer model gives for them in onnxruntime:
what compiled code must equal in every bit, as `hqc verify` checks.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np
import onnx_ir as ir

from hqc.codegen.toolchain import Toolchain
from hqc.data.recordings import Recording
from hqc.errors import UserError
from hqc.reference import ReferenceSession
from hqc.targets import Target
from hqc.tracing import link_traced
from hqc.version import VERSION

RECORDINGS = 10
"""Recordings that travel, spread over those there are."""


def has_linux(target: Target) -> bool:
    """Whether programs of a target are for Linux, as this one is."""
    return target.is_host or "linux" in (target.program_compiler or target.compiler)[0]


def check_linux(target: Target) -> None:
    """Raise `UserError` for a target without Linux."""
    if not has_linux(target):
        raise UserError(
            f"target {target.name} has no Linux, which the benchmark needs",
            hint="compile the library without --bench, and time it in your own program",
        )


def run_lengths(values: np.ndarray) -> np.ndarray:
    """Floats [n] as words: runs of 2 * length + 1 and one float, or 2 * length and all floats."""
    bits = np.ascontiguousarray(values, "<f4").reshape(-1).view("<u4")
    starts = np.flatnonzero(np.r_[True, bits[1:] != bits[:-1]])
    words: list[np.ndarray] = []
    plain = 0
    # A run of one or two costs as much by itself as among floats that are written out.
    for start, end in zip(starts, [*starts[1:], bits.size], strict=True):
        if end - start < 3:
            continue
        if plain < start:
            words += [np.array([2 * (start - plain)]), bits[plain:start]]
        words.append(np.array([2 * (end - start) + 1, bits[start]]))
        plain = end
    if plain < bits.size:
        words += [np.array([2 * (bits.size - plain)]), bits[plain:]]
    return np.concatenate(words).astype("<u4")


def link_bench(
    integer: ir.Model,
    kernels: Sequence[str],
    name: str,
    target: Target,
    cc: str | None,
    folder: Path,
    recordings: Sequence[Recording],
) -> None:
    """Link `NAME_bench` into the folder of a library.

    `integer` is the integer model behind the library, `kernels` the names of its kernels. Without
    `cc` the program is static, for the host too.
    """
    if target.is_host and not cc:
        target = replace(target, compiler=(f"{platform.machine()}-linux-musl",))
    toolchain = Toolchain.of(target, cc)
    session, given = ReferenceSession(integer), integer.graph.inputs[0].name
    data = bytearray()
    for recording in recordings:
        (logits,) = session.run({given: recording.frames})
        data += logits.astype("<f4").tobytes() + run_lengths(recording.frames).tobytes()
    values = {
        "name": name,
        "NAME": name.upper(),
        "version": VERSION,
        "target": target.name,
        "recordings": len(recordings),
        "kernels": len(kernels),
        "kernel_names": ", ".join(f'"{_quotable(kernel)}"' for kernel in kernels),
    }
    templates = resources.files("hqc.runtimes.c")
    sources = [f"{name}_bench.c", f"{name}_recordings.S"]
    for template, file in zip(("bench.c.in", "recordings.S.in"), sources, strict=True):
        (folder / file).write_text(Template((templates / template).read_text()).substitute(values))
    (folder / f"{name}_recordings.bin").write_bytes(data)
    link_traced(toolchain, name, sources, f"{name}_bench", folder, ["-s"])
    for made in (*sources, f"{name}_recordings.bin"):
        (folder / made).unlink()


def _quotable(text: str) -> str:
    """A text as it may stand in a string of JSON in a string of C."""
    return "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "_" for c in text)
