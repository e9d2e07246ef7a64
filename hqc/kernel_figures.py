"""What kernels of one target are compared by: time here, cycles or instructions elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hqc.artifact import Artifact
from hqc.kernel_counts import Counts, count_kernels, counting_emulator, estimated_cycles
from hqc.profiling import time_kernels
from hqc.targets import Target

_ROUNDS = 15


def unit_of(target: Target) -> str:
    """The unit of a target's figures: of time on this machine; under an emulator of cycles as the
    target estimates them, or of instructions where it does not."""
    if target.is_host:
        return "nanoseconds"
    nothing = Counts(0, 0, dict.fromkeys(target.data_caches, 0))
    return "instructions" if estimated_cycles(target, nothing) is None else "cycles"


def check_measurable(target: Target) -> None:
    """Raise `ToolError` where kernels of a target can be neither timed nor counted here."""
    if not target.is_host:
        counting_emulator(target)


def kernel_figures(
    artifact: Artifact, frames: Sequence[np.ndarray], threads: int = 1, cc: str | None = None
) -> dict[str, float]:
    """What every kernel takes, by its name: on the host on average over recordings, the median of
    some rounds on so many `threads`; under an emulator counted, for the first recording."""
    names = [kernel["name"] for kernel in artifact.manifest["kernels"]]
    if artifact.target.is_host:
        taken, _ = time_kernels(artifact, frames, _ROUNDS, threads, cc)
        return {n: ms * 1e6 for n, ms in zip(names, taken, strict=True)}
    counted, _ = count_kernels(artifact, frames[:1], cc)
    cycles = [estimated_cycles(artifact.target, c) for c in counted]
    figures = [c.instructions if x is None else x for c, x in zip(counted, cycles, strict=True)]
    return dict(zip(names, figures, strict=True))
