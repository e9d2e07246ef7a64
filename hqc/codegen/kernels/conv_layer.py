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

from hqc.codegen.kernels.frame_rows import FrameRows
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
NO_TOTALS = Constant(np.zeros(0, np.int16))


@dataclass(frozen=True, eq=False)
class Accumulation:
    """How a layer's sums are made, as TIR macros; types name the elements of their buffers.

    `prepare(weights, offsets, codes)` runs once a call and may fill the scratch area `codes`.
    `look_at_rows(x, table, events, s, oy)` runs once a tile of `tile` positions and step, and
    `look(x, table, events, counts, s, oy, ox)` once a position: they may list inputs.
    `add(x, weights, offsets, codes, events, counts, acc, s, oy, ox, first)` adds to acc the inputs
    of the outputs from `first` on, `block_words` words of them; unless it `clears`, acc needs not
    be 0 before. `settle(totals, counts, acc, oy, ox, first)` runs after it. An element of acc holds
    `per_element` sums, each times its place. What `look` counts are `counts` numbers.
    Rows of `frames` are copied to `events` before, and sums are kept where a position sees what it
    saw the step before, or at the first, only 0.
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
    settle: Callable = nothing
    counts: int = 1
    tile: int = 1
    frames: FrameRows | None = None
    clears: bool = True
    per_element: int = 1
    table: Constant = NO_TABLE
    totals: Constant = NO_TOTALS
    code: str = "int8"

    @property
    def size(self) -> int:
        """Elements of acc."""
        return self.block_words * WORD // self.per_element

    def start(self, vector: bool):
        """A TIR macro: make acc ready for `add`."""
        return clear(self.size, self.accumulator, vector) if self.clears else nothing


def frame_macros(frames: FrameRows | None):
    """The macros that copy rows of frames and mark what changes."""
    return (frames.copy(), frames.mark()) if frames else (nothing, nothing)


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
            sums.totals,
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
    prepare, look_at_rows, look = sums.prepare, sums.look_at_rows, sums.look
    add, settle = sums.add, sums.settle
    tile, tiles, blocks = sums.tile, g.out_width // sums.tile, g.out_words // sums.block_words
    start, row_size = sums.start(vector), neurons.row(g.channels, vector)
    rows, epilogue = rows_of(g, tile), fire(neurons, g.channels, vector, sums.per_element > 1)
    stored, offset, total = (str(c.array.dtype) for c in (*sums.weights, sums.totals))
    start_at_0 = clear(sums.size, sums.accumulator, vector)
    copy_rows, mark_changes = frame_macros(sums.frames)
    keeps_sums, flags = sums.frames is not None, sums.frames.outputs if sums.frames else 0

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
        totals_p: T.handle(total),
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
        totals = T.decl_buffer((ANY,), total, data=totals_p)
        levels = T.decl_buffer((ANY,), neurons.level, data=levels_p)
        codes = T.decl_buffer((ANY,), sums.code, data=codes_p)
        events = T.decl_buffer((ANY,), sums.event, data=events_p)
        u = T.decl_buffer((ANY,), neurons.potential, data=u_p)
        # Otherwise LLVM has code for no steps, in which it clears the potentials of many positions.
        T.evaluate(T.call_llvm_intrin("void", "llvm.assume", steps > 0))
        prepare(weights, offsets, codes)
        for oy in range(g.out_height):
            if keeps_sums:
                for s in range(steps):
                    copy_rows(x, events, s, oy)
                mark_changes(events, steps)
            for column in range(tiles):
                row: T.let = (oy * tiles + column) * stride
                mine: T.let = rows.has(oy * tiles + column, part, parts)
                if t_begin == 0 and mine:
                    for n in range(tile * row_size):
                        u[row + n] = neurons.at_rest()
                if keeps_sums:
                    for block in range(blocks):
                        acc = T.alloc_buffer((sums.size,), sums.accumulator)
                        start_at_0(acc, 0)
                        for s in range(T.Select(mine, steps, 0)):
                            if events[s * flags + column] != T.Cast(sums.event, 0):
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
                            counts = T.alloc_buffer((sums.counts,), "int32")
                            look(x, table, events, counts, s, oy, ox)
                            for block in range(blocks):
                                acc = T.alloc_buffer((sums.size,), sums.accumulator)
                                start(acc, 0)
                                add(
                                    x, weights, offsets, codes, events, counts, acc, s, oy, ox,
                                    block * lanes,
                                )  # fmt: skip
                                settle(totals, counts, acc, oy, ox, block * lanes)
                                fire_block(
                                    acc, u, row + i * row_size, levels, y, s, oy, ox, block, t_begin
                                )

    return layer
