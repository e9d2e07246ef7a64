"""SpikeConv by events: list the spikes a position sees, add the weight row of each.

Cost follows the firing rate. A linear layer is the same with a 1x1 kernel.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.complements import Complements
from hqc.codegen.kernels.conv_layer import Accumulation, Layer
from hqc.codegen.kernels.geometry import (
    Geometry,
    accumulator_type,
    code_rows,
    is_wide,
    narrowest,
)
from hqc.codegen.kernels.lanes import add, put
from hqc.codegen.kernels.neurons import Neurons
from hqc.codegen.kernels.spike_lists import SpikeLists, listed, pieces, rows_at_once
from hqc.codegen.kernels.unpack import codes_of
from hqc.codegen.kernels.weights import StoredWeights
from hqc.codegen.kernels.word_lanes import LaneCodes, reversed_bits


def suits_lanes(node: ir.Node, word_bits: int, bits: int) -> bool:
    """Whether the node's codes can be added in words that have several lanes of so many bits."""
    codes = LaneCodes.of(StoredWeights.of(node, code_rows(node)), word_bits)
    return codes is not None and codes.lanes.lane_bits <= bits


def event_sums(node: ir.Node, vector: bool) -> Layer:
    """Sums of a convolution of packed spikes, by events."""
    _, height, width, planes, _ = node.inputs[0].shape.numpy()
    g = Geometry.of(node, height, width, planes)
    stored = StoredWeights.of(node, code_rows(node))
    accumulator = accumulator_type(stored.codes, 2**planes - 1, is_wide(node))
    if node.op_type == "SpikeConv" and Neurons.of(node).lanes > 1:
        return _in_lanes(g, node, stored)
    codes = None if vector else LaneCodes.of(stored)
    if codes is not None:
        in_pairs = accumulator == "int16" and codes.lanes.lane_bits <= 16
        in_pairs = in_pairs and node.op_type == "SpikeConv"
        wide = "int64" if accumulator == "int64" else "int32"
        return _in_words(g, codes, wide, 16 if in_pairs else 32)
    largest = int(np.abs(stored.codes).max(initial=1))
    lane, rows = narrowest(largest, accumulator)
    unrolled = rows_at_once(rows) if rows else 4
    lists = SpikeLists.of_node(node, g, unrolled, vector, g.columns)
    complements = Complements(lists, accumulator, g.block_lanes(accumulator))
    if lane == accumulator:
        add_rows = _add_at_once(complements, vector)
    else:
        add_rows = _add_late(complements, lane, rows // unrolled)
    sums = Accumulation(
        image="uint32",
        accumulator=accumulator,
        block_words=g.block_words(accumulator),
        **listed(lists),
        **complements.of(stored.codes),
        **codes_of(stored, g.columns, add_rows, vector, zeros=True),
    )
    return g, sums, ("event", stored.form, accumulator, lane, rows, lists)


def _in_lanes(g: Geometry, node: ir.Node, stored: StoredWeights) -> Layer:
    """Codes added as fields of words in whose lanes neurons lie, in the order of these."""
    neurons = Neurons.of(node)
    lanes = neurons.in_lanes(g.channels)
    places = reversed_bits(np.arange(lanes.lanes), lanes.lanes)  # of a word's sums
    order = lanes.order().reshape(-1, lanes.lanes)[:, places].reshape(-1)
    codes = LaneCodes.of(stored.reordered(order), lanes.lanes * lanes.bits)
    return _in_words(g, codes, codes.lanes.word, lanes.bits)


def _in_words(g: Geometry, codes: LaneCodes, accumulator: str, sum_bits: int) -> Layer:
    """Codes added as fields of words, and sums of so many bits; of as many as a word has lanes in
    an element of the accumulator."""
    unpacked, word_bits = {}, codes.lanes.word_bits
    if codes.unpacked_words:
        size = codes.unpacked_words * word_bits // 8
        unpacked = {"prepare": codes.unpack(), "codes_size": size, "code": codes.lanes.word}
    lists = SpikeLists.of_rows(g, codes.lanes.unrolled, codes.lanes.row_words)
    sums = Accumulation(
        image="uint32",
        weights=codes.constants(sum_bits),
        accumulator=accumulator,
        block_words=1,
        clears=False,
        per_element=word_bits // sum_bits,
        add=codes.add(lists, accumulator, sum_bits),
        **listed(lists),
        **{"codes_size": 0, **unpacked},
    )
    return g, sums, ("words", codes.form, accumulator, sum_bits, lists)


def _add_late(complements: Complements, lane: str, most: int):
    """A TIR macro: add the listed rows in narrow lanes, widened every `most` unrolled chunks.

    Those of each plane are shifted by its place.
    """
    lists, accumulator, turn = complements.lists, complements.accumulator, complements.turn()
    lanes, planes, row = complements.outputs, lists.g.planes, lists.g.columns // lists.row_size
    unrolled, capacity = lists.unrolled, lists.capacity
    begin, add_codes, widen = (
        make(lanes, dtype, vector=True)
        for make, dtype in ((put, lane), (add, lane), (add, accumulator))
    )

    def row_of(events, at, first):
        return T.Cast("int32", events[at]) * row + first

    @T.macro
    def add_late(x, weights, offsets, codes, events, counts, acc, s, oy, ox, first):
        for plane in T.unroll(planes):
            turn(acc, counts, plane)
            chunks: T.let = pieces(counts[plane], unrolled)
            done = T.alloc_buffer((1,), "int32")
            done[0] = 0
            while done[0] < chunks:
                end: T.let = T.min(done[0] + most, chunks)
                narrow = T.alloc_buffer((lanes,), lane)
                at: T.let = plane * capacity + done[0] * unrolled
                begin(narrow, 0, codes, row_of(events, at, first))
                for e in T.unroll(unrolled - 1):
                    add_codes(narrow, 0, codes, row_of(events, at + 1 + e, first), 0)
                for chunk in range(1, end - done[0]):
                    for e in T.unroll(unrolled):
                        add_codes(
                            narrow, 0, codes, row_of(events, at + chunk * unrolled + e, first), 0
                        )
                widen(acc, 0, narrow, 0, plane)
                done[0] = end
            turn(acc, counts, plane)

    return add_late


def _add_at_once(complements: Complements, vector: bool):
    """A TIR macro: add the listed rows, each as wide as its sum, for large codes."""
    lists, accumulator, turn = complements.lists, complements.accumulator, complements.turn()
    lanes, planes, row = complements.outputs, lists.g.planes, lists.g.columns // lists.row_size
    unrolled, capacity = lists.unrolled, lists.capacity
    add_codes = add(lanes, accumulator, vector)

    @T.macro
    def add_at_once(x, weights, offsets, codes, events, counts, acc, s, oy, ox, first):
        for plane in T.unroll(planes):
            turn(acc, counts, plane)
            for chunk in range(pieces(counts[plane], unrolled)):
                for e in T.unroll(unrolled):
                    k: T.let = T.Cast("int32", events[plane * capacity + chunk * unrolled + e])
                    add_codes(acc, 0, codes, k * row + first, plane)
            turn(acc, counts, plane)

    return add_at_once
