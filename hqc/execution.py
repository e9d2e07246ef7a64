"""Running the code of a compiled library here, under the target's emulator if it needs one."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import onnx_ir as ir

from hqc.codegen.toolchain import Toolchain
from hqc.data.recordings import Recording
from hqc.dialect.metadata import THREADS
from hqc.emulator import program_command
from hqc.errors import VerificationError
from hqc.reference import ReferenceSession
from hqc.targets import Target
from hqc.threads import in_threads

MODES = ("run", "stream")
"""How a library computes: all time steps in one call, or one step a call."""


def link_runner(toolchain: Toolchain, name: str, folder: Path) -> Path:
    """The library's program, which reads frames and writes logits."""
    toolchain.program([f"{name}_runner.c", f"lib{name}.a"], "runner", folder)
    return folder / "runner"


def execute(
    target: Target,
    runner: Path,
    mode: str,
    recordings: Sequence[Recording],
    classes: int,
    processes: int = 1,
    in_parts: bool = False,
) -> np.ndarray:
    """Logits [recordings, classes] of the runner, under the target's emulator if it has one.

    It runs in so many processes at once, each on a part of the recordings. With `in_parts` a
    library for several threads computes every kernel as these would share it.
    """
    command = program_command(target, runner, mode, *(["parts"] if in_parts else []))

    def run(part: Sequence[Recording]) -> bytes:
        frames = b"".join(r.frames.tobytes() for r in part)
        result = subprocess.run(command, input=frames, capture_output=True, check=False)
        if result.returncode:
            said = result.stderr.decode(errors="replace").strip()
            raise VerificationError(f"the compiled code for {target.name} failed: {said}")
        return result.stdout

    size = max(-(-len(recordings) // processes), 1)
    parts = [recordings[i : i + size] for i in range(0, max(len(recordings), 1), size)]
    said = b"".join(in_threads(run, parts, len(parts)))
    return np.frombuffer(said, "<f4").reshape(-1, classes)


def check_library(
    kernels: ir.Model, target: Target, toolchain: Toolchain, name: str, folder: Path,
    frames: np.ndarray,
) -> None:  # fmt: skip
    """Raise `VerificationError` where a library's logits are not its kernel model's, bit by bit."""
    (expected,) = ReferenceSession(kernels).run({kernels.graph.inputs[0].name: frames})
    recordings = [Recording("", frames)]
    runner = link_runner(toolchain, name, folder)
    threads = int(kernels.metadata_props.get(THREADS, 1))
    for mode, in_parts in product(MODES, [False, True][: 1 + (threads > 1)]):
        (logits,) = execute(target, runner, mode, recordings, expected.size, in_parts=in_parts)
        if not np.array_equal(logits, expected.reshape(-1)):
            differ = int((logits != expected.reshape(-1)).sum())
            raise VerificationError(
                f"{differ} of {logits.size} logits of the compiled code ({mode}"
                f"{f', for {threads} threads' if in_parts else ''}) differ from the kernel model's"
            )
    runner.unlink()
