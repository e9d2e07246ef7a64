"""SpikeConv by fields: list the spikes a position sees, add the weight rows as they are stored.

Rows are added without being unpacked: fields of a row are taken apart by masks into lanes of bytes,
those of 2 bits by way of lanes of 4, which hold a few rows. So a row of 128 codes of 2 bits is a
load of 32 bytes. That pays where rows come from beyond the first cache, or few positions share
what unpacking costs. Fields hold codes less an offset; what the offsets add up to is the number of
rows times each.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.conv_layer import Accumulation, Layer
from hqc.codegen.kernels.geometry import Geometry, accumulator_type, code_rows, is_wide
from hqc.codegen.kernels.kernel_base import Constant
from hqc.codegen.kernels.neurons import WORD
from hqc.codegen.kernels.spike_lists import SpikeLists, listed, listing_of, pieces, rows_at_once
from hqc.codegen.kernels.weights import StoredWeights


def suits_fields(node: ir.Node) -> bool:
    """Whether the node's codes are such fields, and their outputs fill vectors."""
    channels = node.inputs[1].shape.numpy()[0]
    bits, scheme = (node.attributes[n].value for n in ("weight_bits", "weight_scheme"))
    fields = bits == 2 or (scheme == "uniform" and bits <= 4)
    return fields and channels % (2 * WORD) == 0 and not is_wide(node)


def field_sums(node: ir.Node, vector: bool) -> Layer:
    """Sums of a convolution of packed spikes, by fields."""
    _, height, width, planes, _ = node.inputs[0].shape.numpy()
    g = Geometry.of(node, height, width, planes)
    stored = StoredWeights.of(node, code_rows(node)).widened(g.columns)
    bits, block_words = stored.field_bits, next(b for b in (8, 4, 2) if g.out_words % b == 0)
    largest = max(int(stored.fields().max()), 1)
    unrolled = rows_at_once((15 if bits == 2 else 255) // largest)
    lists = SpikeLists(g, unrolled, vector, listing=listing_of(node))
    accumulator = accumulator_type(stored.codes, 2**planes - 1, wide=False)
    sums = Accumulation(
        image="uint32",
        weights=(_blocks(stored, block_words), Constant(stored.offsets())),
        accumulator=accumulator,
        block_words=block_words,
        codes_size=0,
        add=_add_fields(lists, accumulator, bits, block_words, 255 // (unrolled * largest)),
        **listed(lists),
    )
    return g, sums, ("fields", bits, accumulator, largest, lists)


def _blocks(stored: StoredWeights, block_words: int) -> Constant:
    """uint8 [K + 1, blocks, bytes]: byte i of a block holds its outputs i, i + bytes, ...; the
    fields of the last row are 0."""
    parts, width = stored.parts, block_words * WORD
    fields = stored.fields().reshape(len(stored.codes), -1, parts, width // parts)
    shifts = np.arange(parts, dtype=np.uint8)[:, None] * stored.field_bits
    rows = np.bitwise_or.reduce(fields << shifts, axis=2).astype(np.uint8)
    return Constant(np.pad(rows, ((0, 1), (0, 0), (0, 0))), is_weights=True)


def _add_fields(lists: SpikeLists, accumulator: str, bits: int, block_words: int, most: int):
    """A TIR macro: add the listed rows, those of each plane shifted by its place.

    Lanes of bytes hold `most` chunks of as many rows as are unrolled.
    """
    g, unrolled, capacity = lists.g, lists.unrolled, lists.capacity
    planes, blocks, parts = g.planes, g.out_words // block_words, 8 // bits
    lanes = block_words * WORD
    size = lanes // parts

    @T.macro
    def add_pairs(weights, events, at, block, sums):
        """Fields of 2 bits by way of lanes of 4."""
        pairs = T.alloc_buffer((2 * size,), "uint8")
        for v in T.vectorized(2 * size):
            pairs[v] = T.uint8(0)
        for e in T.unroll(unrolled):
            row: T.let = (T.Cast("int32", events[at + e]) * blocks + block) * size
            for v in T.vectorized(size):
                pairs[v] = pairs[v] + (weights[row + v] & T.uint8(0x33))
            for v in T.vectorized(size):
                pairs[size + v] = pairs[size + v] + (
                    T.shift_right(weights[row + v], T.uint8(2)) & T.uint8(0x33)
                )
        for v in T.vectorized(2 * size):
            sums[v] = sums[v] + (pairs[v] & T.uint8(15))
        for v in T.vectorized(2 * size):
            sums[2 * size + v] = sums[2 * size + v] + T.shift_right(pairs[v], T.uint8(4))

    @T.macro
    def add_halves(weights, events, at, block, sums):
        """Fields of 4 bits."""
        for e in T.unroll(unrolled):
            row: T.let = (T.Cast("int32", events[at + e]) * blocks + block) * size
            for v in T.vectorized(size):
                sums[v] = sums[v] + (weights[row + v] & T.uint8(15))
            for v in T.vectorized(size):
                sums[size + v] = sums[size + v] + T.shift_right(weights[row + v], T.uint8(4))

    add_chunk = add_pairs if bits == 2 else add_halves

    @T.macro
    def add_fields(x, weights, offsets, codes, events, counts, acc, s, oy, ox, first):
        total = T.alloc_buffer((1,), "int32")
        total[0] = 0
        for plane in T.unroll(planes):
            total[0] = total[0] + T.shift_left(counts[plane], plane)
        for v in T.vectorized(lanes):
            acc[v] = acc[v] + T.Cast(accumulator, offsets[first + v]) * T.Cast(
                accumulator, total[0]
            )
        for plane in T.unroll(planes):
            chunks: T.let = pieces(counts[plane], unrolled)
            for group in range(pieces(chunks, most)):
                sums = T.alloc_buffer((lanes,), "uint8")
                for v in T.vectorized(lanes):
                    sums[v] = T.uint8(0)
                for chunk in range(T.min(most, chunks - group * most)):
                    at: T.let = plane * capacity + (group * most + chunk) * unrolled
                    add_chunk(weights, events, at, first // lanes, sums)
                for v in T.vectorized(lanes):
                    acc[v] = acc[v] + T.shift_left(
                        T.Cast(accumulator, sums[v]), T.Cast(accumulator, plane)
                    )

    return add_fields
