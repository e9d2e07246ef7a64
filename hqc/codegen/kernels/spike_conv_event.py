"""SpikeConv by events: list the spikes a position sees, add the weight row of each.

Cost follows the firing rate. A linear layer is the same with a 1x1 kernel.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.conv_layer import Accumulation, Layer
from hqc.codegen.kernels.geometry import (
    Geometry,
    accumulator_type,
    code_rows,
    is_wide,
    narrowest,
)
from hqc.codegen.kernels.lanes import add, clear
from hqc.codegen.kernels.spike_lists import SpikeLists, listed
from hqc.codegen.kernels.unpack import codes_of
from hqc.codegen.kernels.weights import StoredWeights
from hqc.codegen.kernels.word_lanes import (
    Lanes,
    add_lane_rows,
    lane_constants,
    lanes_of,
    unpack_lanes,
)

_UNROLLED = (4, 5, 6)
"""Rows that are added without a branch. More waste additions of zeros at the end of a list."""


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
    lane, rows = narrowest(largest, accumulator)
    unrolled = max(_UNROLLED, key=lambda u: min(rows, 32) // u * u)
    lists = SpikeLists.of(node, g, unrolled, vector)
    if lane == accumulator:
        add_rows = _add_at_once(g, lists, accumulator, vector)
    else:
        add_rows = _add_late(g, lists, lane, accumulator, rows // unrolled)
    sums = Accumulation(
        image="uint32",
        accumulator=accumulator,
        block_words=g.block_words(accumulator),
        **listed(lists),
        **codes_of(stored, g.columns, add_rows, vector, zeros=True),
    )
    return g, sums, ("event", stored.form, accumulator, lane, rows, lists)


def _in_words(g: Geometry, stored: StoredWeights, lanes: Lanes, accumulator: str) -> Layer:
    """Codes added as fields of 32-bit words."""
    unpacked = {}
    if stored.is_shift:
        size = g.inputs * lanes.row_words * 4
        unpacked = {"prepare": unpack_lanes(stored, lanes), "codes_size": size, "code": "uint32"}
    lists = SpikeLists(g, 1, vector=False, by_table=False)
    sums = Accumulation(
        image="uint32",
        weights=lane_constants(stored, lanes),
        accumulator=accumulator,
        block_words=1,
        add=add_lane_rows(lanes, lists, accumulator, stored=not unpacked),
        **listed(lists),
        **{"codes_size": 0, **unpacked},
    )
    return g, sums, ("words", stored.form, lanes, accumulator, sums.weights[1].array.dtype.name)


def _add_late(g: Geometry, lists: SpikeLists, lane: str, accumulator: str, most: int):
    """A TIR macro: add the listed rows in narrow lanes, widened every `most` unrolled chunks.

    Those of each plane are shifted by its place.
    """
    lanes, columns, planes = g.block_lanes(accumulator), g.columns, g.planes
    unrolled, capacity = lists.unrolled, lists.capacity
    clear_lanes = clear(lanes, lane, vector=True)
    add_codes, widen = add(lanes, lane, vector=True), add(lanes, accumulator, vector=True)

    @T.macro
    def add_late(x, weights, offsets, codes, events, counts, acc, s, oy, ox, first):
        for plane in T.unroll(planes):
            chunks: T.let = T.truncdiv(counts[plane] + (unrolled - 1), unrolled)
            for group in range(T.truncdiv(chunks + (most - 1), most)):
                narrow = T.alloc_buffer((lanes,), lane)
                clear_lanes(narrow)
                for chunk in range(T.min(most, chunks - group * most)):
                    at: T.let = plane * capacity + (group * most + chunk) * unrolled
                    for e in T.unroll(unrolled):
                        k: T.let = T.Cast("int32", events[at + e])
                        add_codes(narrow, 0, codes, k * columns + first, 0)
                widen(acc, 0, narrow, 0, plane)

    return add_late


def _add_at_once(g: Geometry, lists: SpikeLists, accumulator: str, vector: bool):
    """A TIR macro: add the listed rows, each as wide as its sum, for large codes."""
    lanes, columns, planes = g.block_lanes(accumulator), g.columns, g.planes
    unrolled, capacity = lists.unrolled, lists.capacity
    add_codes = add(lanes, accumulator, vector)

    @T.macro
    def add_at_once(x, weights, offsets, codes, events, counts, acc, s, oy, ox, first):
        for plane in T.unroll(planes):
            for chunk in range(T.truncdiv(counts[plane] + (unrolled - 1), unrolled)):
                for e in T.unroll(unrolled):
                    k: T.let = T.Cast("int32", events[plane * capacity + chunk * unrolled + e])
                    add_codes(acc, 0, codes, k * columns + first, plane)

    return add_at_once
