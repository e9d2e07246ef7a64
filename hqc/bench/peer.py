"""Timing a compiled model against other runtimes, in one process, one thread, turn by turn."""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from hqc.classes import class_of
from hqc.errors import UserError
from hqc.extras import INSTALLED_BY
from hqc.named import named

Runner = Callable[[np.ndarray], np.ndarray]
"""Frames to logits."""

PeerBuilder = Callable[[ir.Model, Sequence[np.ndarray]], Runner]
"""Makes a peer's runner from a dialect model; it may calibrate on the frames."""

DEFAULT_PEERS = ("onnxruntime-fp32", "onnxruntime-int8")
"""Peers that are installed with hqc."""

_PEERS: dict[str, PeerBuilder] = {}
_NEEDS: dict[str, Sequence[str]] = {}


def peer(name: str, needs: Sequence[str] = ()) -> Callable[[PeerBuilder], PeerBuilder]:
    """Register the decorated function as a peer, with the packages of `INSTALLED_BY` it needs."""

    def register(builder: PeerBuilder) -> PeerBuilder:
        _PEERS[name], _NEEDS[name] = builder, needs
        return builder

    return register


def peers() -> list[str]:
    """The names of all peers."""
    return sorted(_PEERS)


def find_peer(name: str) -> PeerBuilder:
    """The builder of a peer.

    Raises `UserError`, suggesting the nearest, or saying what is to be installed for it.
    """
    builder = named("peer", name, _PEERS, "peers")
    missing = [package for package in _NEEDS[name] if importlib.util.find_spec(package) is None]
    if missing:
        raise UserError(
            f"the peer {name} needs {', '.join(missing)}",
            hint=", ".join(dict.fromkeys(INSTALLED_BY[package] for package in missing)),
        )
    return builder


@dataclass(frozen=True)
class Timing:
    """Milliseconds an inference: the median over rounds, and the fastest round.

    `ratio` is the median over that of hqc. `same_class` counts recordings classified as by hqc.
    """

    median_ms: float
    fastest_ms: float
    ratio: float
    same_class: int


def bench(
    runners: Mapping[str, Runner], recordings: Sequence[np.ndarray], rounds: int
) -> dict[str, Timing]:
    """Time every runner on every recording, turn by turn, so that noise falls on all alike.

    The first runner is what the others are compared with.
    """
    classes = {n: [_class_of(run(x)) for x in recordings] for n, run in runners.items()}
    times: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, run in runners.items():
            start = time.perf_counter()
            for frames in recordings:
                run(frames)
            times[name].append((time.perf_counter() - start) / len(recordings) * 1e3)
    first = next(iter(runners))
    reference = statistics.median(times[first])
    return {
        name: Timing(
            statistics.median(taken),
            min(taken),
            statistics.median(taken) / reference,
            sum(a == b for a, b in zip(classes[name], classes[first], strict=True)),
        )
        for name, taken in times.items()
    }


def _class_of(logits: np.ndarray) -> int:
    return class_of(logits, logits.shape[-1])
