"""SpikeConv by events: list the spikes a position sees, add the weight row of each.

Cost follows the firing rate. A linear layer is the same with a 1x1 kernel.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.conv_layer import Accumulation, Layer
from hqc.codegen.kernels.geometry import Geometry, accumulator_type, code_rows, is_wide
from hqc.codegen.kernels.lanes import add, clear
from hqc.codegen.kernels.neurons import WORD, lowest_bit
from hqc.codegen.kernels.unpack import codes_of
from hqc.codegen.kernels.weights import StoredWeights
from hqc.codegen.kernels.word_lanes import (
    Lanes,
    add_lane_rows,
    lane_constants,
    lanes_of,
    unpack_lanes,
)

_WORTH_WIDENING_LATE = 4
"""Rows a byte must hold for a byte accumulator to pay."""


def event_sums(node: ir.Node, vector: bool) -> Layer:
    """Sums of a convolution of packed spikes, by events."""
    _, height, width, planes, _ = node.inputs[0].shape.numpy()
    g = Geometry.of(node, height, width, planes)
    stored = StoredWeights.of(node, code_rows(node))
    accumulator = accumulator_type(stored.codes, 2**planes - 1, is_wide(node))
    lanes = None if vector else lanes_of(stored)
    if lanes is not None:
        return _in_words(g, stored, lanes, "int64" if accumulator == "int64" else "int32")
    largest = int(np.abs(stored.codes).max(initial=1))
    sums = Accumulation(
        image="uint32",
        accumulator=accumulator,
        block_words=g.block_words(accumulator),
        events_size=_events_size(g),
        event=_event(g),
        code=stored.code,
        look=_list_events(g, _event(g)),
        **codes_of(
            stored, g.columns, _add_events(planes, _rows(g, accumulator, largest, vector)), vector
        ),
    )
    return g, sums, ("event", stored.form, accumulator, largest)


def _event(g: Geometry) -> str:
    return "uint16" if g.inputs < 2**16 else "int32"


def _events_size(g: Geometry) -> int:
    return g.planes * g.inputs * np.dtype(_event(g)).itemsize


def _rows(g: Geometry, accumulator: str, largest: int, vector: bool):
    """Codes added as bytes where several rows fit one, else each as wide as its sum."""
    lanes, byte_rows = g.block_words(accumulator) * WORD, 127 // largest
    if byte_rows >= _WORTH_WIDENING_LATE:
        return _add_late(lanes, g.columns, accumulator, byte_rows)
    return _add_wide(lanes, g.columns, accumulator, vector)


def _in_words(g: Geometry, stored: StoredWeights, lanes: Lanes, accumulator: str) -> Layer:
    """Codes added as fields of 32-bit words."""
    unpacked = {}
    if stored.is_shift:
        size = g.inputs * lanes.row_words * 4
        unpacked = {"prepare": unpack_lanes(stored, lanes), "codes_size": size, "code": "uint32"}
    sums = Accumulation(
        image="uint32",
        weights=lane_constants(stored, lanes),
        accumulator=accumulator,
        block_words=1,
        events_size=_events_size(g),
        event=_event(g),
        look=_list_events(g, _event(g)),
        add=add_lane_rows(lanes, g.planes, accumulator, stored=not unpacked),
        **{"codes_size": 0, **unpacked},
    )
    return g, sums, ("words", stored.form, lanes, accumulator, sums.weights[1].array.dtype.name)


def _list_events(g: Geometry, event: str):
    """A TIR macro: the inputs that fire, plane by plane; ends[p] is where plane p's list ends."""
    kernel_height, kernel_width = g.kernel
    stride_y, stride_x = g.strides
    top, left = g.pads

    @T.macro
    def look(x, events, ends, s, oy, ox):
        found = T.alloc_buffer((1,), "int32")
        word = T.alloc_buffer((1,), "uint32")
        found[0] = 0
        for plane in range(g.planes):
            for ky in range(kernel_height):
                for kx in range(kernel_width):
                    iy: T.let = oy * stride_y - top + ky
                    ix: T.let = ox * stride_x - left + kx
                    if iy >= 0 and iy < g.height and ix >= 0 and ix < g.width:
                        at: T.let = ((s * g.height + iy) * g.width + ix) * g.planes + plane
                        for w in range(g.in_words):
                            word[0] = x[at * g.in_words + w]
                            while word[0] != T.uint32(0):
                                events[found[0]] = T.Cast(
                                    event,
                                    (ky * kernel_width + kx) * g.in_channels
                                    + w * WORD
                                    + lowest_bit(word[0]),
                                )
                                word[0] = word[0] & (word[0] - T.uint32(1))
                                found[0] = found[0] + 1
            ends[plane] = found[0]

    return look


def _add_events(planes: int, add_rows):
    """A TIR macro: add the listed rows, those of each plane shifted by its place."""

    @T.macro
    def add_events(x, weights, offsets, codes, events, ends, acc, s, oy, ox, first):
        for plane in T.unroll(planes):
            begin: T.let = T.if_then_else(plane == 0, 0, ends[T.max(plane - 1, 0)])
            add_rows(acc, codes, events, begin, ends[plane], plane, first)

    return add_events


def _add_late(lanes: int, columns: int, accumulator: str, byte_rows: int):
    """A TIR macro: add the rows events[begin : end] as bytes, widened every `byte_rows` rows."""
    clear_bytes = clear(lanes, "int8", vector=True)
    add_bytes, widen = add(lanes, "int8", vector=True), add(lanes, accumulator, vector=True)

    @T.macro
    def add_rows(acc, codes, events, begin, end, plane, first):
        bytes_ = T.alloc_buffer((lanes,), "int8")
        for chunk in range((end - begin + (byte_rows - 1)) // byte_rows):
            clear_bytes(bytes_)
            for e in range(T.min(byte_rows, end - begin - chunk * byte_rows)):
                k: T.let = T.Cast("int32", events[begin + chunk * byte_rows + e])
                add_bytes(bytes_, 0, codes, k * columns + first, 0)
            widen(acc, 0, bytes_, 0, plane)

    return add_rows


def _add_wide(lanes: int, columns: int, accumulator: str, vector: bool):
    """A TIR macro: add the rows events[begin : end], each widened at once, for large codes."""
    add_codes = add(lanes, accumulator, vector)

    @T.macro
    def add_rows(acc, codes, events, begin, end, plane, first):
        for e in range(end - begin):
            k: T.let = T.Cast("int32", events[begin + e])
            add_codes(acc, 0, codes, k * columns + first, plane)

    return add_rows
