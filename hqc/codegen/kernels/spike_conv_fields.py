"""SpikeConv by fields: list the spikes a position sees, add the weight rows as they are stored.

Rows are added without being unpacked: two fields of 4 bits lie in a lane of 8, two bytes in one of
16, and those of 2 bits become fields of 4, which hold a few rows. So a row of 128 codes of 2 bits
is a load of 32 bytes. That pays where rows come from beyond the first cache, or few positions share
what unpacking costs. Fields hold codes less an offset; what the offsets add up to is the number of
rows times each. Shifts and codes of more than 4 bits are bytes.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.complements import Complements
from hqc.codegen.kernels.conv_layer import Accumulation, Layer
from hqc.codegen.kernels.geometry import Geometry, accumulator_type, code_rows, is_wide
from hqc.codegen.kernels.kernel_base import Constant
from hqc.codegen.kernels.lanes import add, clear, in_vectors
from hqc.codegen.kernels.neurons import WORD
from hqc.codegen.kernels.spike_lists import SpikeLists, listed, pieces, rows_at_once
from hqc.codegen.kernels.weights import StoredWeights

_PACKED_BLOCKS = (8, 12, 10, 6, 4, 2)
_BYTE_BLOCKS = (4, 3, 2, 1)
"""Words of outputs that are summed at once, best first: whole vectors, and few blocks."""


def field_of(bits: int, scheme: str) -> int:
    """Bits of the field that a code of up to 8 bits becomes."""
    if bits == 2:
        return 2
    return 4 if bits <= 4 and scheme == "uniform" else 8


def suits_fields(node: ir.Node) -> bool:
    """Whether the node's codes are such fields, whose outputs fill vectors and whose sums, offsets
    left out, fit 32 bits."""
    channels, *field = node.inputs[1].shape.numpy()
    bits, scheme = (node.attributes[n].value for n in ("weight_bits", "weight_scheme"))
    planes = node.inputs[0].shape.numpy()[3]
    if bits > 8 or is_wide(node) or 2 ** (8 + planes) * math.prod(field) >= 2**31:
        return False
    return channels % (WORD if field_of(bits, scheme) == 8 else 2 * WORD) == 0


def field_sums(node: ir.Node, vector: bool) -> Layer:
    """Sums of a convolution of packed spikes, by fields."""
    _, height, width, planes, _ = node.inputs[0].shape.numpy()
    g = Geometry.of(node, height, width, planes)
    stored = StoredWeights.of(node, code_rows(node)).widened(g.columns)
    bits = field_of(stored.bits, stored.scheme)
    if bits == 8:
        stored = StoredWeights(stored.codes, 8, "uniform")
    blocks = _BYTE_BLOCKS if bits == 8 else _PACKED_BLOCKS
    block_words = next(b for b in blocks if g.out_words % b == 0)
    lane = "uint16" if bits == 8 else "uint8"
    largest, most = max(int(stored.fields().max()), 1), int(np.iinfo(lane).max)
    unrolled = rows_at_once((15 if bits == 2 else most) // largest)
    row = g.columns * bits // np.iinfo(lane).bits
    lists = SpikeLists.of_node(node, g, unrolled, vector, row)
    accumulator = accumulator_type(stored.codes, 2**planes - 1, wide=False)
    complements = Complements(lists, accumulator, block_words * WORD, np.iinfo(lane).bits // bits)
    sums = Accumulation(
        image="uint32",
        weights=(_blocks(stored, block_words, lane), Constant(stored.offsets())),
        accumulator=accumulator,
        block_words=block_words,
        codes_size=0,
        clears=False,
        add=_add_fields(complements, bits, lane, block_words, most // (unrolled * largest)),
        **listed(lists),
        **complements.of(stored.codes),
    )
    return g, sums, ("fields", bits, stored.code, accumulator, largest, lists)


def _blocks(stored: StoredWeights, block_words: int, lane: str) -> Constant:
    """lane [K + 1, blocks, lanes]: lane i of a block holds its outputs i, i + lanes, ...; the
    fields of the last row are 0."""
    parts, width = np.iinfo(lane).bits // stored.field_bits, block_words * WORD
    fields = stored.fields().reshape(len(stored.codes), -1, parts, width // parts).astype(lane)
    shifts = np.arange(parts, dtype=lane)[:, None] * stored.field_bits
    rows = np.bitwise_or.reduce(fields << shifts, axis=2)
    return Constant(np.pad(rows, ((0, 1), (0, 0), (0, 0))), is_weights=True)


def _add_fields(complements: Complements, bits: int, lane: str, block_words: int, most: int):
    """A TIR macro: add the listed rows, those of each plane shifted by its place.

    Lanes hold `most` chunks of as many rows as are unrolled. The whole ones are added, modulo
    2^8 or 2^16, and their high halves: what the low ones come to is the difference.
    """
    lists, accumulator, turn = complements.lists, complements.accumulator, complements.turn()
    g, unrolled, capacity = lists.g, lists.unrolled, lists.capacity
    planes = g.planes
    outputs, lane_bits = block_words * WORD, np.iinfo(lane).bits
    parts, half_bits = lane_bits // bits, lane_bits // 2
    size, step = outputs // parts, g.columns // parts // lists.row_size

    def start(width):
        @T.macro
        def body(i, acc, offsets, first, total):
            for v in T.vectorized(width):
                acc[i + v] = T.Cast(accumulator, total) * T.Cast(
                    accumulator, offsets[first + i + v]
                )

        return body

    def split(begins):
        def plus(old, new):
            return new if begins else old + new

        def lanes(width):
            @T.macro
            def body(i, rows, first, sums, low, high):
                for v in T.vectorized(width):
                    sums[low + i + v] = plus(sums[low + i + v], rows[first + i + v])
                for v in T.vectorized(width):
                    sums[high + i + v] = plus(
                        sums[high + i + v],
                        T.shift_right(rows[first + i + v], T.Cast(lane, half_bits)),
                    )

            return body

        return in_vectors(size, lanes)

    def add_odd(width):
        @T.macro
        def body(i, odd, rows, first):
            for v in T.vectorized(width):
                odd[i + v] = odd[i + v] + (
                    T.shift_right(rows[first + i + v], T.uint8(2)) & T.uint8(0x33)
                )

        return body

    def take(width):
        @T.macro
        def body(i, sums, low, values, high, bits):
            for v in T.vectorized(width):
                sums[low + i + v] = sums[low + i + v] - T.shift_left(
                    values[high + i + v], T.Cast(lane, bits)
                )

        return body

    # All that is in registers is read and written by the same vectors: else it would leave them.
    start_part, add_odds, take_high = (in_vectors(size, body) for body in (start, add_odd, take))
    begin_halves, split_halves = split(begins=True), split(begins=False)
    clear_part, add_whole = clear(size, lane, vector=True), add(size, lane, vector=True)
    add_part = add(size, accumulator, vector=True)

    def pairs(split_first):
        @T.macro
        def add_pairs(weights, events, at, block, sums):
            """Fields of 2 bits by way of lanes of 4: of each half, the even field, the odd one."""
            even = T.alloc_buffer((size,), lane)
            odd = T.alloc_buffer((size,), lane)
            clear_part(even, 0)
            clear_part(odd, 0)
            for e in T.unroll(unrolled):
                row: T.let = T.Cast("int32", events[at + e]) * step + block * size
                add_whole(even, 0, weights, row, 0)
                add_odds(0, odd, weights, row)
            take_high(0, even, 0, odd, 0, 2)
            split_first(0, even, 0, sums, 0, 2 * size)
            split_first(0, odd, 0, sums, size, 3 * size)

        return add_pairs

    def halves(split_first):
        @T.macro
        def add_halves(weights, events, at, block, sums):
            """Fields of half a lane."""
            first: T.let = T.Cast("int32", events[at]) * step + block * size
            split_first(0, weights, first, sums, 0, size)
            for e in T.unroll(unrolled - 1):
                row: T.let = T.Cast("int32", events[at + 1 + e]) * step + block * size
                split_halves(0, weights, row, sums, 0, size)

        return add_halves

    chunk_by = pairs if bits == 2 else halves
    begin_chunk, add_chunk = chunk_by(begin_halves), chunk_by(split_halves)

    @T.macro
    def add_fields(x, weights, offsets, codes, events, counts, acc, s, oy, ox, first):
        total = T.alloc_buffer((1,), "int32")
        total[0] = 0
        for plane in T.unroll(planes):
            total[0] = total[0] + T.shift_left(complements.signed(counts, plane), plane)
        for part in T.unroll(parts):
            start_part(part * size, acc, offsets, first, total[0])
        for plane in T.unroll(planes):
            turn(acc, counts, plane)
            chunks: T.let = pieces(counts[plane], unrolled)
            done = T.alloc_buffer((1,), "int32")
            done[0] = 0
            while done[0] < chunks:
                end: T.let = T.min(done[0] + most, chunks)
                sums = T.alloc_buffer((outputs,), lane)
                at: T.let = plane * capacity
                begin_chunk(weights, events, at + done[0] * unrolled, first // outputs, sums)
                for chunk in range(done[0] + 1, end):
                    add_chunk(weights, events, at + chunk * unrolled, first // outputs, sums)
                for part in T.unroll(parts // 2):
                    take_high(part * size, sums, 0, sums, outputs // 2, half_bits)
                for part in T.unroll(parts):
                    add_part(acc, part * size, sums, part * size, plane)
                done[0] = end
            turn(acc, counts, plane)

    return add_fields
