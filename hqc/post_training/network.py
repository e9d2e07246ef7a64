"""What a method works on: a trained network whose weights are rounded for a while."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Choice = str
"""Bits of a uniform quantizer in a recipe's notation: `"4u"`."""

Candidate = Mapping[str, Choice]
"""The choices of some layers, by name; all others are in float."""


def bits_of(choice: Choice) -> int:
    """The bits of a uniform quantizer."""
    return int(choice[:-1])


@dataclass(frozen=True)
class Layer:
    """A layer with float weights; `kind` is one of `hqc.post_training.kinds`."""

    name: str
    kind: str
    weights: np.ndarray


class Network(ABC):
    """A trained network with layers to round.

    `layers` are those of a recipe, by name. What is measured leaves the network as it was.
    """

    layers: Mapping[str, Layer]

    @abstractmethod
    def drop(self, choices: Candidate) -> float:
        """Accuracy lost with the given layers rounded, from 0 to 1."""

    @abstractmethod
    def drift(self, choices: Candidate) -> float:
        """How far membrane potentials move, relative to their size, in the mean over layers."""

    def drops(self, candidates: Sequence[Candidate]) -> Iterator[float]:
        """The drop of each candidate, in order, as it is known."""
        return map(self.drop, candidates)

    def drifts(self, candidates: Sequence[Candidate]) -> Iterator[float]:
        """The drift of each candidate, in order, as it is known."""
        return map(self.drift, candidates)

    def bits(self, choices: Candidate) -> int:
        """Bits that the weights of the given layers take."""
        return sum(bits_of(c) * self.layers[n].weights.size for n, c in choices.items())

    @abstractmethod
    def finish(self, recipe: dict[str, Choice], **found: object) -> dict:
        """Round every layer for good, and return the result."""
