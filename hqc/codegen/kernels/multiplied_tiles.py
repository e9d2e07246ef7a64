"""Sums of a tile by multiplications of whole inputs, as wide as the sums are."""

from __future__ import annotations

from tvm.script import tirx as T

from hqc.codegen.kernels.geometry import Geometry
from hqc.codegen.kernels.tile_sums import Tile, TileSums
from hqc.codegen.kernels.unpack import codes_of
from hqc.codegen.kernels.weights import StoredWeights

_VECTOR_TILES = {"int32": (7, 16), "int64": (7, 8)}
"""The most positions, and outputs, of a tile with vectors: 28 registers of 128 bits."""

_SCALAR_TILES = {"int32": (2, 4), "int64": (1, 4)}
"""The same without vectors: 8 registers."""


def multiplied_tiles(
    g: Geometry,
    stored: StoredWeights,
    positions: int,
    in_columns: int,
    accumulator: str,
    vector: bool,
) -> TileSums:
    """Sums of so many positions in all, whose inputs lie in rows of `in_columns`."""
    most, lanes = (_VECTOR_TILES if vector else _SCALAR_TILES)[accumulator]
    tile = Tile.of(positions, most, lanes)
    add = _add_products(g, in_columns, accumulator, tile, vector)
    return TileSums(
        tile=tile,
        accumulator=accumulator,
        key=("multiplied", stored.form, tile, accumulator),
        **codes_of(stored, g.columns, add, vector),
    )


def _add_products(g: Geometry, in_columns: int, accumulator: str, tile: Tile, vector: bool):
    """A TIR macro: the sums of a tile. Places that are known keep them in registers."""
    each, lanes = T.vectorized if vector else T.unroll, tile.lanes

    @T.macro
    def add_products(
        x, weights, offsets, codes, digits, corrections, sums, last, _y, position, first
    ):
        acc = T.alloc_buffer((tile.positions * lanes,), accumulator)
        for p in T.unroll(tile.positions):
            for v in each(lanes):
                acc[p * lanes + v] = T.Cast(accumulator, 0)
        for c in range(g.in_channels):
            row = T.alloc_buffer((lanes,), accumulator)
            for v in each(lanes):
                row[v] = T.Cast(accumulator, codes[c * g.columns + first + v])
            for p in T.unroll(tile.positions):
                value: T.let = T.Cast(accumulator, x[T.min(position + p, last) * in_columns + c])
                for v in each(lanes):
                    acc[p * lanes + v] = acc[p * lanes + v] + value * row[v]
        for p in T.unroll(tile.positions):
            for v in each(lanes):
                sums[p * lanes + v] = acc[p * lanes + v]

    return add_products
