"""A window of one pixel on potentials: a product of matrices, in tiles of positions by outputs.

The sums of a tile stay in registers while all its inputs are multiplied, and a vector of codes
serves all positions of the tile. Positions of all time steps lie one after the other, so a tile may
hold some of several.
"""

from __future__ import annotations

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.dotted_tiles import dotted_tiles
from hqc.codegen.kernels.geometry import Geometry, code_rows, is_wide
from hqc.codegen.kernels.kernel_base import ANY, Input, KernelCall, Output, Scratch
from hqc.codegen.kernels.multiplied_tiles import multiplied_tiles
from hqc.codegen.kernels.rescaling import Rescaling, rescale
from hqc.codegen.kernels.rows import Rows
from hqc.codegen.kernels.tile_sums import TileSums
from hqc.codegen.kernels.weights import StoredWeights
from hqc.dialect import find_op

_POTENTIAL_BYTES = 4


def pointwise_potentials(node: ir.Node, g: Geometry, vector: bool) -> KernelCall:
    """The call of such a PotentialConv."""
    time_steps, *_, in_columns = node.inputs[0].shape.numpy()
    stored = StoredWeights.of(node, code_rows(node))
    accumulator = "int64" if is_wide(node) else "int32"
    positions = time_steps * g.height * g.width
    if find_op(node).attributes(node)["dot_bits"]:
        sums = dotted_tiles(node, g, stored, positions, accumulator)
    else:
        sums = multiplied_tiles(g, stored, positions, in_columns, accumulator, vector)
    tiles = -(-positions // sums.tile.positions)
    rescaling = Rescaling.of(node)
    rows = Rows.in_lines(tiles, g.columns * _POTENTIAL_BYTES)
    return KernelCall(
        lambda: _build(g, rescaling, sums, rows),
        (
            Input(0),
            Output(),
            *sums.weights,
            sums.corrections,
            *rescaling.levels(node, 2, g.channels),
            Scratch(sums.codes_size),
            Scratch(sums.digits_size),
        ),
        ("pointwise", g, in_columns, sums.key, rows, rescaling, vector),
        rows.count,
    )


def _build(g: Geometry, rescaling: Rescaling, sums: TileSums, rows: Rows):
    size, lanes = sums.tile.positions, sums.tile.lanes
    prepare, look, add = sums.prepare, sums.look, sums.add
    epilogue = rescale(rescaling, lanes)
    blocks, pixels = -(-g.channels // lanes), g.height * g.width
    spare = g.columns - blocks * lanes
    constants = (*sums.weights, sums.corrections)
    stored, offset, correction = (str(c.array.dtype) for c in constants)

    @T.prim_func(s_tir=True)
    def pointwise(
        x_p: T.handle("int32"),
        y_p: T.handle("int32"),
        weights_p: T.handle(stored),
        offsets_p: T.handle(offset),
        corrections_p: T.handle(correction),
        multiplier_p: T.handle("int32"),
        bias_p: T.handle("int64"),
        codes_p: T.handle(sums.code),
        digits_p: T.handle("uint8"),
        t_begin: T.int32,
        steps: T.int32,
        part: T.int32,
        parts: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "int32", data=x_p)
        y = T.decl_buffer((ANY,), "int32", data=y_p)
        weights = T.decl_buffer((ANY,), stored, data=weights_p)
        offsets = T.decl_buffer((ANY,), offset, data=offsets_p)
        corrections = T.decl_buffer((ANY,), correction, data=corrections_p)
        multiplier = T.decl_buffer((ANY,), "int32", data=multiplier_p)
        bias = T.decl_buffer((ANY,), "int64", data=bias_p)
        codes = T.decl_buffer((ANY,), sums.code, data=codes_p)
        digits = T.decl_buffer((ANY,), "uint8", data=digits_p)
        prepare(weights, offsets, codes)
        for at in range((steps * pixels + size - 1) // size):
            mine: T.let = rows.has(at, part, parts)
            position: T.let = at * size
            last: T.let = steps * pixels - 1
            if mine:
                look(x, digits, position, last)
            for block in range(T.Select(mine, blocks, 0)):
                ended = T.alloc_buffer((size * lanes,), sums.accumulator)
                first: T.let = block * lanes
                add(
                    x, weights, offsets, codes, digits, corrections, ended, last, 0, position,
                    first,
                )  # fmt: skip
                for p in range(T.min(size, last + 1 - position)):
                    to: T.let = (position + p) * g.columns + first
                    epilogue(ended, p * lanes, multiplier, bias, first, y, to)
                    if spare > 0 and block == blocks - 1:
                        for v in range(spare):
                            y[to + lanes + v] = 0

    return pointwise
