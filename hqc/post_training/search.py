"""A search under way: its network, its space, and what it says of how far it is."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from hqc.post_training.network import Candidate, Choice, Network
from hqc.post_training.space import Space

_RECENT = 8
"""Measurements whose mean says how long the next takes."""


@dataclass(frozen=True)
class Found:
    """What a method found: each layer's choice, and what else belongs to the result."""

    recipe: dict[str, Choice]
    about: dict[str, object] = field(default_factory=dict)


class _Left:
    """Measurements of one sort, done and left."""

    def __init__(self) -> None:
        self.done = self.planned = 0
        self._seconds: deque[float] = deque(maxlen=_RECENT)

    def add(self, seconds: float) -> None:
        self.done += 1
        self._seconds.append(seconds)

    @property
    def left(self) -> int:
        """How many are still to be made, at most."""
        return max(self.planned - self.done, 0)

    @property
    def seconds(self) -> float:
        """How long those take, at most."""
        return self.left * sum(self._seconds) / max(len(self._seconds), 1)


class Search:
    """What a method is given.

    `space` holds each layer's choices from high precision to low, `free` the layers that have more
    than one. `tolerance` is the accuracy that may be lost, `beam` how many assignments are kept.
    """

    def __init__(
        self,
        network: Network,
        space: Space,
        *,
        tolerance: float = 0.01,
        beam: int = 4,
        progress: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.network, self.space = network, space
        self.tolerance, self.beam = tolerance, beam
        self.free = [name for name, choices in space.items() if len(choices) > 1]
        self._progress, self._about = progress, ""
        self._drops, self._drifts = _Left(), _Left()

    def expect(self, *, drops: int = 0, drifts: int = 0) -> None:
        """Say how many more candidates will be measured, at most."""
        self._drops.planned = self._drops.done + drops
        self._drifts.planned = self._drifts.done + drifts

    def say(self, text: str) -> None:
        """Say what is being done."""
        self._about = text
        self._show()

    def drop(self, choices: Candidate) -> float:
        """Accuracy that a candidate loses."""
        return self._counted(self._drops, map(self.network.drop, [choices]))[0]

    def drops(self, candidates: Sequence[Candidate]) -> list[float]:
        """Accuracy that each candidate loses."""
        return self._counted(self._drops, self.network.drops(candidates))

    def drifts(self, candidates: Sequence[Candidate]) -> list[float]:
        """How far each candidate moves membrane potentials."""
        return self._counted(self._drifts, self.network.drifts(candidates))

    def _counted(self, kind: _Left, values: Iterable[float]) -> list[float]:
        found, before = [], time.monotonic()
        for value in values:
            now = time.monotonic()
            kind.add(now - before)
            before = now
            found.append(value)
            self._show()
        return found

    def _show(self) -> None:
        done = self._drops.done + self._drifts.done
        left = self._drops.left + self._drifts.left
        counts = f"{done} candidates measured, at most {left} left" if left else ""
        seconds = self._drops.seconds + self._drifts.seconds
        remaining = f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
        counts += f", {remaining}" if left and done else ""
        self._progress("; ".join(filter(None, (self._about, counts))))
