"""Where a benchmark runs, and what it gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hqc.data.recordings import Recording
from hqc.errors import UserError

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """What to run: a model on recordings, compiled for `target`, or for what a place finds fit.

    `bind` gives symbolic sizes of the model their numbers; `calibrate` names recordings to measure
    firing rates on. Where time passes as it does, it is measured for at least `seconds`, on the
    processor `cpu` if one is named. `peers` are counted beside, where a place counts.
    """

    model: Path
    recordings: Sequence[Recording]
    target: str | None = None
    bind: Mapping[str, int] = field(default_factory=dict)
    calibrate: Path | None = None
    cc: str | None = None
    host: str = "127.0.0.1"
    seconds: float = 1.0
    cpu: int | None = None
    peers: Sequence[str] = ()
    progress: Progress = lambda text: None


@dataclass(frozen=True)
class Result:
    """A run of one model on one device; what could not be had there is None or empty.

    Times are milliseconds an inference. `equal` counts recordings whose logits are, bit by bit,
    those that the integer model gives. `kernels` holds, for each kernel in order, its name and what
    was measured of it (ms, or instructions and misses), and `peers`, by name, of each its
    `instructions`, their `ratio` over those of hqc, and `logits_error`, how far its logits are from
    those of onnxruntime.
    """

    model: str
    model_sha256: str
    hqc: str
    target: str
    place: str
    recordings: int
    equal: int
    device: Mapping[str, Any] = field(default_factory=dict)
    compiler: str | None = None
    median_ms: float | None = None
    fastest_ms: float | None = None
    percentiles_ms: Mapping[str, float] = field(default_factory=dict)
    runs: int | None = None
    init_ms: float | None = None
    peak_memory_bytes: int | None = None
    instructions: int | None = None
    cache_misses: Mapping[str, int] = field(default_factory=dict)
    estimated_ms: float | None = None
    kernels: Sequence[Mapping[str, Any]] = ()
    peers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    steady: bool | None = None
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def as_dict(self) -> dict:
        """Everything, as JSON stores it."""
        return asdict(self)


Place = Callable[[str, Job], Result]
"""Runs a job at the place that was named, e.g. "ssh://pi@raspberrypi.local"."""

_PLACES: dict[str, tuple[str, Place]] = {}


def place(form: str, pattern: str) -> Callable[[Place], Place]:
    """Register the decorated function for the names that match a regular expression as a whole.

    `form` is how users write them, e.g. "ssh://[USER@]HOST[:PORT]".
    """

    def register(run: Place) -> Place:
        _PLACES[form] = pattern, run
        return run

    return register


def places() -> list[str]:
    """The forms of all places."""
    return sorted(_PLACES)


def find_place(name: str) -> Place:
    """What runs at the place of that name. Raises `UserError` where there is none."""
    for pattern, run in _PLACES.values():
        if re.fullmatch(pattern, name):
            return run
    raise UserError(
        f"--on: {name!r} is no place to run a benchmark", hint=f"places are: {', '.join(places())}"
    )
