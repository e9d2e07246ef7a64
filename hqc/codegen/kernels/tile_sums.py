"""Sums of a tile, positions by outputs, which registers hold: what every way to make them says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hqc.codegen.kernels.conv_layer import nothing
from hqc.codegen.kernels.kernel_base import Constant

NOTHING = Constant(np.zeros(0, np.int32))


@dataclass(frozen=True)
class Tile:
    """So many positions, by so many outputs each."""

    positions: int
    lanes: int

    @classmethod
    def of(cls, positions: int, most: int, lanes: int) -> Tile:
        """The tile of at most `most` for so many positions: codes are read once a tile, which costs
        about what a position does, and of the last tile some may be computed in vain."""

        def cost(size: int) -> int:
            return -(-positions // size) * (size + 1)

        return cls(min(range(most, 0, -1), key=cost), lanes)


@dataclass(frozen=True, eq=False)
class TileSums:
    """How the sums of tiles are made, as TIR macros.

    `prepare(weights, offsets, codes)` runs once a call and may fill the scratch area `codes`;
    `look(x, digits, position, last)` once a tile, and may fill `digits`, bytes. `position` is the
    tile's first; positions behind the `last` are taken to be that one.
    `add(x, weights, offsets, codes, digits, corrections, sums, last, 0, position, first)` makes
    sums[p * lanes + v] those of the outputs from `first` on, of the type `accumulator`.
    `key` tells which can share one function.
    """

    tile: Tile
    accumulator: str
    weights: tuple[Constant, Constant]
    code: str
    codes_size: int
    add: Callable
    key: tuple
    prepare: Callable = nothing
    look: Callable = nothing
    digits_size: int = 0
    corrections: Constant = NOTHING
