"""Suite: one Spikformer with more and more time steps, tokens and blocks, one of them at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING

from hqc.bench.suite.speed import built, trained
from hqc.bench.suite.suite import Axis, Case, Suite
from hqc.bench.suite.trained import SPIKFORMER, UNTRAINED, Trained

if TYPE_CHECKING:
    from torch import nn

_PATCH, _HEAD = 4, 32
"""Pixels along a token's side, and channels of a head."""


@dataclass(frozen=True)
class Size:
    """What a network has of each axis; its image is square, `side` tokens wide."""

    steps: int
    side: int
    depth: int

    @property
    def words(self) -> tuple[str, str, str]:
        """Each in words."""
        return f"T = {self.steps}", f"{self.side**2} tokens", f"depth {self.depth}"

    @property
    def name(self) -> str:
        """The name of its case."""
        return f"t{self.steps}-tokens{self.side**2}-depth{self.depth}"


def alike() -> Trained:
    """Weights of 4 bits, and for each kind of layer the trained network's mean rate.

    So every block is like the others, whatever their number.
    """
    rates = {kind: [fmean(rates)] for kind, rates in trained().rates.items()}
    return Trained(UNTRAINED.choices, rates)


def scaling(
    width: int, base: Size, steps: Sequence[int], sides: Sequence[int], depths: Sequence[int]
) -> Suite:
    """Spikformers of a width: `base`, and others that differ from it along one axis."""

    def case(size: Size) -> Case:
        def make() -> nn.Module:
            from hqc.models.spikformer import Spikformer

            pool = (True, True, False, False)
            return Spikformer(3, dim=width, depth=size.depth, heads=width // _HEAD, pool=pool)

        about = f"Spikformer-{size.depth}-{width}, T = {size.steps}, {size.side**2} tokens, 4 bits"
        make_file = built(make, SPIKFORMER, size.steps, size.side * _PATCH, like=alike)
        return Case(size.name, about, make_file)

    by_steps = {n: replace(base, steps=n) for n in steps}
    by_tokens = {n * n: replace(base, side=n) for n in sides}
    by_depth = {n: replace(base, depth=n) for n in depths}
    time, tokens, depth = base.words

    def axis(name: str, kept: Sequence[str], sizes: Mapping[int, Size]) -> Axis:
        return Axis(name, ", ".join(kept), {n: size.name for n, size in sizes.items()})

    sizes = dict.fromkeys([*by_steps.values(), *by_tokens.values(), *by_depth.values()])
    return Suite(
        "scaling",
        [case(size) for size in sizes],
        axes=[
            axis("time steps", [tokens, depth], by_steps),
            axis("tokens", [time, depth], by_tokens),
            axis("depth", [time, tokens], by_depth),
        ],
    )


SCALING = scaling(192, Size(4, 8, 4), (1, 2, 4, 8), (4, 8, 12, 16), (1, 2, 4, 8))
