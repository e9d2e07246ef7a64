"""Peers under an emulator: programs for a target whose instructions QEMU counts, as hqc's are."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from hqc.bench.onnxruntime_fp32 import session_runner
from hqc.bench.standard_model import standard_model
from hqc.bench_program import has_linux
from hqc.errors import ToolError, UserError
from hqc.kernel_counts import run_counted
from hqc.named import named
from hqc.targets import Target

MARKER = "peer_counted"
"""The function that a peer's program calls before and after each inference."""

ProgramBuilder = Callable[[ir.Model, Target, str | None, Path], Path]
"""Links a program of a dialect model for a target, in a folder, with a C compiler if one is named.

It reads recordings, float32 [T, 1, C, H, W], one after another from standard input, writes float32
logits to standard output, and calls `MARKER`, which it defines, before and after each inference.
"""

_TOLERANCE = 1e-3
"""How far logits may be from onnxruntime's, as a share of the largest: sums in another order differ
by rounding alone, which is 1e-6, unless a spike hangs on it."""

_PEERS: dict[str, ProgramBuilder] = {}


def counted_peer(name: str) -> Callable[[ProgramBuilder], ProgramBuilder]:
    """Register the decorated function as what links the program of a peer."""

    def register(builder: ProgramBuilder) -> ProgramBuilder:
        _PEERS[name] = builder
        return builder

    return register


def counted_peers() -> list[str]:
    """The names of the peers that run under an emulator."""
    return sorted(_PEERS)


def check_counted(names: Sequence[str], target: Target) -> None:
    """Raise `UserError` for a peer that does not run under an emulator, and for a target that has
    no Linux, where memory for networks in floats is rarely found."""
    for name in names:
        named("counted peer", name, _PEERS, "those that an emulator counts")
    if names and not has_linux(target):
        raise UserError(
            f"target {target.name} has no Linux, which peers need",
            hint="leave out --peers, or name another target, e.g. --target arm-a72",
        )


@dataclass(frozen=True)
class PeerCount:
    """Instructions of an inference, its logits, and how far these are from onnxruntime's."""

    instructions: int
    logits: np.ndarray
    logits_error: float


def count_peer(
    name: str, model: ir.Model, target: Target, frames: np.ndarray, cc: str | None = None
) -> PeerCount:
    """The count of a peer for a recording, frames [T, 1, C, H, W] of float32.

    Caches are left out: floats take a hundred times the instructions, and a look-up for each of
    their loads would take many minutes. Raises `ToolError` where the logits are not onnxruntime's
    of the same network in floats, and as `run_counted` does.
    """
    without_caches = replace(target, caches={})
    with tempfile.TemporaryDirectory(prefix="hqc-bench-") as temporary:
        folder = Path(temporary)
        program = _PEERS[name](model, target, cc, folder)
        given = frames.astype("<f4").tobytes()
        said, rows = run_counted(without_caches, program, [], given, MARKER, folder)
    if len(rows) != 2:
        raise ToolError(
            f"{len(rows)} calls of {MARKER} were seen of the peer {name}, not 2",
            hint="the C compiler must keep the symbols of programs, and not optimize across files",
        )
    logits = np.frombuffer(said, "<f4")
    wanted = session_runner(standard_model(model))(frames).reshape(-1)
    error = float(np.abs(logits - wanted).max())
    # Not `>`: NaN is no logit of anything.
    if not error <= _TOLERANCE * np.abs(wanted).max():
        raise ToolError(
            f"the peer {name} gives logits that are {error:.3g} from those of onnxruntime",
            hint="where a spike hangs on rounding, another recording has none that does: --data",
        )
    return PeerCount(int(rows[1, 0] - rows[0, 0]), logits, error)
