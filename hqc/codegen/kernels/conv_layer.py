"""What every convolution is around its sums: positions, time steps, neurons.

Positions, or tiles of some in a row, are the outer loop and time steps the inner one, so that
membrane potentials stay in the first cache while all steps of a tile are computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.geometry import Geometry
from hqc.codegen.kernels.kernel_base import (
    ANY,
    Constant,
    Input,
    KernelCall,
    Output,
    Scratch,
)
from hqc.codegen.kernels.lanes import clear
from hqc.codegen.kernels.neurons import WORD, Neurons, fire
from hqc.codegen.kernels.rows import Rows
from hqc.errors import UnsupportedModelError


@T.macro
def nothing(*_):
    """A TIR macro that does nothing."""
    T.evaluate(0)


NO_TABLE = Constant(np.zeros(0, np.uint8))


@dataclass(frozen=True, eq=False)
class Accumulation:
    """How a layer's sums are made, as TIR macros; types name the elements of their buffers.

    `prepare(weights, offsets, codes)` runs once a call and may fill the scratch area `codes`.
    `look_at_rows(x, table, events, s, oy)` runs once a tile of `tile` positions and step, and
    `look(x, table, events, counts, s, oy, ox)` once a position: they may list inputs.
    `add(x, weights, offsets, codes, events, counts, acc, s, oy, ox, first)` adds to acc the inputs
    of the outputs from `first` on, `block_words` words of them; unless it `clears`, acc needs not
    be 0 before. An element of acc holds `per_element` sums, each times its place.
    With `keeps` sums are kept where all that a position sees is what it saw the step before, or
    is 0 at the first: `events` has room for what `mark_changes` says of a row.
    """

    image: str
    weights: tuple[Constant, Constant]
    accumulator: str
    block_words: int
    codes_size: int
    events_size: int
    event: str
    add: Callable
    prepare: Callable = nothing
    look_at_rows: Callable = nothing
    look: Callable = nothing
    tile: int = 1
    keeps: bool = False
    clears: bool = True
    per_element: int = 1
    table: Constant = NO_TABLE
    code: str = "int8"

    @property
    def size(self) -> int:
        """Elements of acc."""
        return self.block_words * WORD // self.per_element

    def start(self, vector: bool):
        """A TIR macro: make acc ready for `add`."""
        return clear(self.size, self.accumulator, vector) if self.clears else nothing


def changes_size(g: Geometry, steps: int) -> int:
    """Bytes that `mark_changes` writes: a flag a step and position of a row, and in which columns
    the inputs that the row sees differ."""
    return steps * g.out_width + _seen_width(g)


def _seen_width(g: Geometry) -> int:
    """Columns that a row of windows sees, padding counted."""
    return (g.out_width - 1) * g.strides[1] + g.kernel[1]


def mark_changes(g: Geometry, image: str):
    """A TIR macro: events[s * out_width + ox] = 0 where the output at [oy, ox] sees at step s what
    it saw at the step before; at the first, where it sees only 0.

    Images are the same at every step, and frames of events are empty nearly everywhere.
    """
    pixels, seen = g.height * g.width, _seen_width(g)
    (kernel_height, kernel_width), (stride_y, stride_x), (top, left) = g.kernel, g.strides, g.pads
    columns = max(min(g.width, seen - left), 0)

    @T.macro
    def mark(x, events, steps, oy):
        differs: T.let = steps * g.out_width
        for s in range(steps):
            for column in range(seen):
                events[differs + column] = T.uint8(0)
            for ky in range(kernel_height):
                iy: T.let = oy * stride_y - top + ky
                if iy >= 0 and iy < g.height:
                    for c in range(g.in_channels):
                        row: T.let = (s * g.in_channels + c) * pixels + iy * g.width
                        before: T.let = row - g.in_channels * pixels
                        for ix in range(columns):
                            at: T.let = differs + left + ix
                            change: T.let = T.if_then_else(
                                s == 0, x[row + ix], x[row + ix] ^ x[before + ix]
                            )
                            events[at] = events[at] | T.Cast("uint8", change)
            for ox in range(g.out_width):
                any_of = T.alloc_buffer((1,), "uint8")
                any_of[0] = T.uint8(0)
                for kx in T.unroll(kernel_width):
                    any_of[0] = any_of[0] | events[differs + ox * stride_x + kx]
                events[s * g.out_width + ox] = any_of[0]

    return mark


def rows_of(g: Geometry, tile: int) -> Rows:
    """How parts share the output of a convolution: rows of tiles of so many positions."""
    return Rows.in_lines(g.out_height * g.out_width // tile, tile * g.out_words * WORD // 8)


Layer = tuple[Geometry, Accumulation, tuple]
"""A convolution, how its sums are made, and a key that tells which can share one function."""


def conv_layer(node: ir.Node, layer: Layer, vector: bool) -> KernelCall:
    """The call of a layer that ends in neurons, which have 32 bits.

    Raises `UnsupportedModelError` where the sums may leave them.
    """
    g, sums, key = layer
    if sums.accumulator == "int64":
        raise UnsupportedModelError(
            f"node {node.name!r}: its sums over {g.inputs} inputs may leave 32 bits",
            hint="train this layer with fewer bits",
        )
    neurons = Neurons.of(node)
    time_steps, rows = node.outputs[0].shape.numpy()[0], rows_of(g, sums.tile)
    return KernelCall(
        lambda: _build(g, neurons, sums, vector),
        (
            Input(0),
            Output(),
            *sums.weights,
            sums.table,
            neurons.levels(node, 2, g.channels, time_steps, vector),
            Scratch(sums.codes_size),
            Scratch(sums.events_size),
            *neurons.state(rows.items, sums.tile * neurons.row(g.channels, vector)),
        ),
        (*key, g, neurons, vector),
        rows.count,
    )


def _build(g: Geometry, neurons: Neurons, sums: Accumulation, vector: bool):
    lanes = sums.block_words * WORD
    prepare, look_at_rows, look, add = sums.prepare, sums.look_at_rows, sums.look, sums.add
    tile, tiles, blocks = sums.tile, g.out_width // sums.tile, g.out_words // sums.block_words
    start, row_size = sums.start(vector), neurons.row(g.channels, vector)
    rows, epilogue = rows_of(g, tile), fire(neurons, g.channels, vector, sums.per_element > 1)
    stored, offset = (str(c.array.dtype) for c in sums.weights)
    mark_row = mark_changes(g, sums.image)

    @T.macro
    def fire_block(acc, u, row, levels, y, s, oy, ox, block, t_begin):
        for w in range(sums.block_words):
            word: T.let = block * sums.block_words + w
            out: T.let = (s * g.out_height + oy) * g.out_width + ox
            epilogue(
                acc, w * WORD, u, row + word * (WORD // neurons.lanes), levels, word * WORD, y,
                out * g.out_words + word, t_begin + s,
            )  # fmt: skip

    @T.prim_func(s_tir=True)
    def layer(
        x_p: T.handle(sums.image),
        y_p: T.handle("uint32"),
        weights_p: T.handle(stored),
        offsets_p: T.handle(offset),
        table_p: T.handle("uint8"),
        levels_p: T.handle(neurons.level),
        codes_p: T.handle(sums.code),
        events_p: T.handle(sums.event),
        u_p: T.handle(neurons.potential),
        stride: T.int32,
        t_begin: T.int32,
        steps: T.int32,
        part: T.int32,
        parts: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), sums.image, data=x_p)
        y = T.decl_buffer((ANY,), "uint32", data=y_p)
        weights = T.decl_buffer((ANY,), stored, data=weights_p)
        offsets = T.decl_buffer((ANY,), offset, data=offsets_p)
        table = T.decl_buffer((ANY,), "uint8", data=table_p)
        levels = T.decl_buffer((ANY,), neurons.level, data=levels_p)
        codes = T.decl_buffer((ANY,), sums.code, data=codes_p)
        events = T.decl_buffer((ANY,), sums.event, data=events_p)
        u = T.decl_buffer((ANY,), neurons.potential, data=u_p)
        # Otherwise LLVM has code for no steps, in which it clears the potentials of many positions.
        T.evaluate(T.call_llvm_intrin("void", "llvm.assume", steps > 0))
        prepare(weights, offsets, codes)
        for oy in range(g.out_height):
            if sums.keeps:
                mark_row(x, events, steps, oy)
            for column in range(tiles):
                row: T.let = (oy * tiles + column) * stride
                mine: T.let = rows.has(oy * tiles + column, part, parts)
                if t_begin == 0 and mine:
                    for n in range(tile * row_size):
                        u[row + n] = neurons.at_rest()
                if sums.keeps:
                    for block in range(blocks):
                        acc = T.alloc_buffer((sums.size,), sums.accumulator)
                        start(acc, 0)
                        for s in range(T.Select(mine, steps, 0)):
                            if events[s * g.out_width + column] != T.Cast(sums.event, 0):
                                start(acc, 0)
                                add(
                                    x, weights, offsets, codes, events, events, acc, s, oy, column,
                                    block * lanes,
                                )  # fmt: skip
                            fire_block(acc, u, row, levels, y, s, oy, column, block, t_begin)
                else:
                    for s in range(T.Select(mine, steps, 0)):
                        look_at_rows(x, table, events, s, oy)
                        for i in range(tile):
                            ox: T.let = column * tile + i
                            counts = T.alloc_buffer((g.planes,), "int32")
                            look(x, table, events, counts, s, oy, ox)
                            for block in range(blocks):
                                acc = T.alloc_buffer((sums.size,), sums.accumulator)
                                start(acc, 0)
                                add(
                                    x, weights, offsets, codes, events, counts, acc, s, oy, ox,
                                    block * lanes,
                                )  # fmt: skip
                                fire_block(
                                    acc, u, row + i * row_size, levels, y, s, oy, ox, block, t_begin
                                )

    return layer
