"""SpikeConv by events: list the spikes a position sees, add the weight row of each.

Cost follows the firing rate. A linear layer is the same with a 1x1 kernel.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.geometry import Geometry, accumulator_type, code_rows
from hqc.codegen.kernels.kernel_base import (
    ANY,
    Input,
    KernelCall,
    Output,
    Scratch,
    State,
    Stride,
)
from hqc.codegen.kernels.lanes import add, clear
from hqc.codegen.kernels.neurons import WORD, Neurons, fire, lowest_bit
from hqc.codegen.kernels.unpack import unpack
from hqc.codegen.kernels.weights import StoredWeights

_WORTH_WIDENING_LATE = 4
"""Rows a byte must hold for a byte accumulator to pay."""


def emit_event(node: ir.Node, vector: bool) -> KernelCall:
    """The event kernel of a SpikeConv."""
    time_steps, height, width, planes, _ = node.inputs[0].shape.numpy()
    g = Geometry.of(node, height, width, planes)
    rows, neurons = code_rows(node), Neurons.of(node)
    bits, scheme = (node.attributes[n].value for n in ("weight_bits", "weight_scheme"))
    stored = StoredWeights(rows, bits, scheme)
    accumulator = accumulator_type(rows, 2**planes - 1)
    byte_rows = 127 // max(int(np.abs(rows.astype(np.int16)).max(initial=1)), 1)
    event_type = "uint16" if g.inputs < 2**16 else "int32"
    event_bytes = planes * g.inputs * np.dtype(event_type).itemsize
    return KernelCall(
        lambda: _build(g, neurons, stored, accumulator, byte_rows, event_type, vector),
        (
            Input(0),
            Output(),
            *stored.constants(),
            *neurons.parameters(node, 2, g.channels, time_steps),
            Scratch(g.inputs * g.columns),
            Scratch(event_bytes),
            State(g.columns * 4, g.out_height * g.out_width * g.columns * 4),
            Stride(g.columns),
        ),
        ("event", g, neurons, bits, scheme, accumulator, byte_rows, vector),
    )


def _list_events(g: Geometry, event_type: str):
    """A TIR macro: the inputs that fire, plane by plane; ends[p] is where plane p's list ends."""
    kernel_height, kernel_width = g.kernel
    stride_y, stride_x = g.strides
    top, left = g.pads

    @T.macro
    def gather(x, events, ends, s, oy, ox):
        found = T.alloc_buffer((1,), "int32")
        word = T.alloc_buffer((1,), "uint32")
        found[0] = 0
        for p in range(g.planes):
            for ky in range(kernel_height):
                for kx in range(kernel_width):
                    iy: T.let = oy * stride_y - top + ky
                    ix: T.let = ox * stride_x - left + kx
                    if iy >= 0 and iy < g.height and ix >= 0 and ix < g.width:
                        for w in range(g.in_words):
                            word[0] = x[
                                (((s * g.height + iy) * g.width + ix) * g.planes + p) * g.in_words
                                + w
                            ]
                            while word[0] != T.uint32(0):
                                events[found[0]] = T.Cast(
                                    event_type,
                                    (ky * kernel_width + kx) * g.in_channels
                                    + w * WORD
                                    + lowest_bit(word[0]),
                                )
                                word[0] = word[0] & (word[0] - T.uint32(1))
                                found[0] = found[0] + 1
            ends[p] = found[0]

    return gather


def _add_late(lanes: int, columns: int, accumulator: str, byte_rows: int, vector: bool):
    """A TIR macro: add the rows events[begin : end] as bytes, widened every `byte_rows` rows."""
    clear_bytes = clear(lanes, "int8", vector)
    add_bytes, widen = add(lanes, "int8", vector), add(lanes, accumulator, vector)

    @T.macro
    def add_rows(acc, codes, events, begin, end, plane, column):
        sums = T.alloc_buffer((lanes,), "int8")
        for chunk in range((end - begin + (byte_rows - 1)) // byte_rows):
            clear_bytes(sums)
            for e in range(T.min(byte_rows, end - begin - chunk * byte_rows)):
                k: T.let = T.Cast("int32", events[begin + chunk * byte_rows + e])
                add_bytes(sums, 0, codes, k * columns + column, 0)
            widen(acc, 0, sums, 0, plane)

    return add_rows


def _add_wide(lanes: int, columns: int, accumulator: str, vector: bool):
    """A TIR macro: add the rows events[begin : end], each widened at once, for large codes."""
    add_codes = add(lanes, accumulator, vector)

    @T.macro
    def add_rows(acc, codes, events, begin, end, plane, column):
        for e in range(end - begin):
            k: T.let = T.Cast("int32", events[begin + e])
            add_codes(acc, 0, codes, k * columns + column, plane)

    return add_rows


def _build(
    g: Geometry,
    neurons: Neurons,
    stored: StoredWeights,
    accumulator: str,
    byte_rows: int,
    event_type: str,
    vector: bool,
):
    lanes = g.block_words * WORD
    fill, gather = unpack(stored, g.columns, vector), _list_events(g, event_type)
    start, epilogue = clear(lanes, accumulator, vector), fire(neurons)
    if byte_rows >= _WORTH_WIDENING_LATE:
        add_rows = _add_late(lanes, g.columns, accumulator, byte_rows, vector)
    else:
        add_rows = _add_wide(lanes, g.columns, accumulator, vector)

    @T.prim_func(s_tir=True)
    def spike_conv_event(
        x_p: T.handle("uint32"),
        y_p: T.handle("uint32"),
        stored_p: T.handle("uint8"),
        offsets_p: T.handle("int8"),
        bias_p: T.handle("int32"),
        threshold_p: T.handle("int32"),
        reset_p: T.handle("int32"),
        codes_p: T.handle("int8"),
        events_p: T.handle(event_type),
        u_p: T.handle("int32"),
        stride: T.int32,
        t_begin: T.int32,
        steps: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "uint32", data=x_p)
        y = T.decl_buffer((ANY,), "uint32", data=y_p)
        packed = T.decl_buffer((ANY,), "uint8", data=stored_p)
        offsets = T.decl_buffer((ANY,), "int8", data=offsets_p)
        bias = T.decl_buffer((ANY,), "int32", data=bias_p)
        threshold = T.decl_buffer((ANY,), "int32", data=threshold_p)
        reset = T.decl_buffer((ANY,), "int32", data=reset_p)
        codes = T.decl_buffer((ANY,), "int8", data=codes_p)
        events = T.decl_buffer((ANY,), event_type, data=events_p)
        u = T.decl_buffer((ANY,), "int32", data=u_p)
        fill(packed, offsets, codes)
        for oy in range(g.out_height):
            for ox in range(g.out_width):
                row: T.let = oy * g.out_width + ox
                if t_begin == 0:
                    for n in range(g.columns):
                        u[row * stride + n] = 0
                for s in range(steps):
                    ends = T.alloc_buffer((g.planes,), "int32")
                    gather(x, events, ends, s, oy, ox)
                    for block in range(g.out_words // g.block_words):
                        acc = T.alloc_buffer((lanes,), accumulator)
                        start(acc)
                        for p in T.unroll(g.planes):
                            begin: T.let = T.if_then_else(p == 0, 0, ends[T.max(p - 1, 0)])
                            add_rows(acc, codes, events, begin, ends[p], p, block * lanes)
                        for w in range(g.block_words):
                            word: T.let = block * g.block_words + w
                            epilogue(
                                acc,
                                w * WORD,
                                u,
                                row * stride + word * WORD,
                                bias,
                                threshold,
                                reset,
                                word * WORD,
                                y,
                                ((s * g.out_height + oy) * g.out_width + ox) * g.out_words + word,
                                t_begin + s,
                            )

    return spike_conv_event
