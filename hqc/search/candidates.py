"""Candidates of a search measured in several processes: local ones, or those of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from typing import Any, Protocol

import torch

from hqc.errors import UserError
from hqc.post_training.network import Candidate


class Measure(Protocol):
    """What candidates are measured by: `hqc.search.post_training.Trial`."""

    def drop(self, choices: Candidate) -> float:
        """Accuracy lost."""

    def drift(self, choices: Candidate) -> float:
        """How far potentials move."""


_here: Measure


def _start(trial: Measure) -> None:
    global _here
    torch.set_num_threads(1)
    _here = trial


def _measure(asked: tuple[str, Candidate]) -> float:
    what, candidate = asked
    return getattr(_here, what)(candidate)


class Candidates:
    """Measures candidates: in this process with one worker, else in `workers` processes."""

    def __init__(self, trial: Measure, workers: int = 1, ray: bool = False) -> None:
        self._trial = trial
        self._pool = _pool(trial, workers, ray) if workers > 1 or ray else None

    def drops(self, candidates: Sequence[Candidate]) -> Iterator[float]:
        """The accuracy that each candidate loses."""
        return self._map("drop", candidates)

    def drifts(self, candidates: Sequence[Candidate]) -> Iterator[float]:
        """How far each candidate moves membrane potentials."""
        return self._map("drift", candidates)

    def _map(self, what: str, candidates: Sequence[Candidate]) -> Iterator[float]:
        if self._pool is None:
            return map(getattr(self._trial, what), candidates)
        return self._pool.imap(_measure, [(what, c) for c in candidates])

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool.join()


def _pool(trial: Measure, workers: int, ray: bool) -> Any:
    if not ray:
        # Forked, as torch's own data loaders are: a user's network need not be picklable.
        return get_context("fork").Pool(workers, _start, (trial,))
    try:
        from ray.util.multiprocessing import Pool
    except ImportError:
        raise UserError("--ray needs Ray", hint="pip install ray, or leave --ray out") from None
    return Pool(workers, _start, (trial,))
