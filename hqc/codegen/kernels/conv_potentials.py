"""What every convolution to potentials is around its sums: time steps, positions, rescaling."""

from __future__ import annotations

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.conv_layer import Accumulation, Layer, frame_macros, rows_of
from hqc.codegen.kernels.geometry import Geometry
from hqc.codegen.kernels.kernel_base import ANY, Input, KernelCall, Output, Scratch
from hqc.codegen.kernels.neurons import WORD
from hqc.codegen.kernels.rescaling import Rescaling, rescale


def conv_potentials(node: ir.Node, layer: Layer, vector: bool) -> KernelCall:
    """The call of a layer that ends in potentials."""
    g, sums, key = layer
    rescaling = Rescaling.of(node)
    return KernelCall(
        lambda: _build(g, rescaling, sums, vector),
        (
            Input(0),
            Output(),
            *sums.weights,
            sums.table,
            sums.totals,
            *rescaling.levels(node, 2, g.channels),
            Scratch(sums.codes_size),
            Scratch(sums.events_size),
        ),
        ("potentials", *key, g, rescaling, vector),
        rows_of(g, sums.tile).count,
    )


def _build(g: Geometry, rescaling: Rescaling, sums: Accumulation, vector: bool):
    lanes = sums.block_words * WORD
    prepare, look_at_rows, look = sums.prepare, sums.look_at_rows, sums.look
    add, settle = sums.add, sums.settle
    tile, tiles, rows = sums.tile, g.out_width // sums.tile, rows_of(g, sums.tile)
    start, epilogue = sums.start(vector), rescale(rescaling)
    copy_rows, _ = frame_macros(sums.frames)
    stored, offset, total = (str(c.array.dtype) for c in (*sums.weights, sums.totals))

    @T.prim_func(s_tir=True)
    def layer(
        x_p: T.handle(sums.image),
        y_p: T.handle("int32"),
        weights_p: T.handle(stored),
        offsets_p: T.handle(offset),
        table_p: T.handle("uint8"),
        totals_p: T.handle(total),
        multiplier_p: T.handle("int32"),
        bias_p: T.handle("int64"),
        codes_p: T.handle(sums.code),
        events_p: T.handle(sums.event),
        t_begin: T.int32,
        steps: T.int32,
        part: T.int32,
        parts: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), sums.image, data=x_p)
        y = T.decl_buffer((ANY,), "int32", data=y_p)
        weights = T.decl_buffer((ANY,), stored, data=weights_p)
        offsets = T.decl_buffer((ANY,), offset, data=offsets_p)
        table = T.decl_buffer((ANY,), "uint8", data=table_p)
        totals = T.decl_buffer((ANY,), total, data=totals_p)
        multiplier = T.decl_buffer((ANY,), "int32", data=multiplier_p)
        bias = T.decl_buffer((ANY,), "int64", data=bias_p)
        codes = T.decl_buffer((ANY,), sums.code, data=codes_p)
        events = T.decl_buffer((ANY,), sums.event, data=events_p)
        prepare(weights, offsets, codes)
        for s in range(steps):
            for oy in range(g.out_height):
                copy_rows(x, events, s, oy)
                for column in range(tiles):
                    mine: T.let = rows.has(oy * tiles + column, part, parts)
                    if mine:
                        look_at_rows(x, table, events, s, oy)
                    for i in range(T.Select(mine, tile, 0)):
                        ox: T.let = column * tile + i
                        out: T.let = (s * g.out_height + oy) * g.out_width + ox
                        counts = T.alloc_buffer((sums.counts,), "int32")
                        look(x, table, events, counts, s, oy, ox)
                        for block in range(g.out_words // sums.block_words):
                            acc = T.alloc_buffer((sums.size,), sums.accumulator)
                            start(acc, 0)
                            add(
                                x, weights, offsets, codes, events, counts, acc, s, oy, ox,
                                block * lanes,
                            )  # fmt: skip
                            settle(totals, counts, acc, oy, ox, block * lanes)
                            for w in range(sums.block_words):
                                n: T.let = (block * sums.block_words + w) * WORD
                                epilogue(acc, w * WORD, multiplier, bias, n, y, out * g.columns + n)

    return layer
