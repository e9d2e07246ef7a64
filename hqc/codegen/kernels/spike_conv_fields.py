"""SpikeConv by fields: list the spikes a position sees, add the weight rows as they are stored.

Rows are added without being unpacked: fields of a row are taken apart into lanes of bytes, those of
2 bits by way of lanes of 4, which hold a few rows. So a row of 128 codes of 2 bits is a load of 32
bytes. That pays where rows come from beyond the first cache, or few positions share what unpacking
costs. Fields hold codes less an offset; what the offsets add up to is the number of rows times
each. Shifts and codes of more than 4 bits are bytes, the halves of which are added as two fields.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.conv_layer import Accumulation, Layer
from hqc.codegen.kernels.geometry import Geometry, accumulator_type, code_rows, is_wide
from hqc.codegen.kernels.kernel_base import Constant
from hqc.codegen.kernels.lanes import add, add_product, clear, vector_width
from hqc.codegen.kernels.neurons import WORD
from hqc.codegen.kernels.spike_lists import SpikeLists, listed, listing_of, pieces, rows_at_once
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
    largest = min(max(int(stored.fields().max()), 1), 15)
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
    return g, sums, ("fields", bits, stored.code, accumulator, largest, lists)


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

    Lanes of bytes hold `most` chunks of as many rows as are unrolled. Of bytes, the whole ones
    are added, modulo 256, and their high halves: what the low ones come to is the difference.
    """
    g, unrolled, capacity = lists.g, lists.unrolled, lists.capacity
    planes, blocks, parts = g.planes, g.out_words // block_words, 8 // bits
    lanes = block_words * WORD
    size = lanes // parts
    width = vector_width(size)
    clear_bytes = clear(size, "uint8", vector=True)

    @T.macro
    def split_halves(bytes_, first, sums, low, high):
        """sums[low] and sums[high] += bytes and their high halves."""
        for i in T.unroll(size // width):
            for v in T.vectorized(width):
                sums[low + i * width + v] = (
                    sums[low + i * width + v] + bytes_[first + i * width + v]
                )
            for v in T.vectorized(width):
                sums[high + i * width + v] = sums[high + i * width + v] + T.shift_right(
                    bytes_[first + i * width + v], T.uint8(4)
                )

    @T.macro
    def add_pairs(weights, events, at, block, sums):
        """Fields of 2 bits by way of lanes of 4: of each half, the even field, and the odd one."""
        even = T.alloc_buffer((size,), "uint8")
        odd = T.alloc_buffer((size,), "uint8")
        clear_bytes(even)
        clear_bytes(odd)
        for e in T.unroll(unrolled):
            row: T.let = (T.Cast("int32", events[at + e]) * blocks + block) * size
            for i in T.unroll(size // width):
                for v in T.vectorized(width):
                    even[i * width + v] = even[i * width + v] + weights[row + i * width + v]
                for v in T.vectorized(width):
                    odd[i * width + v] = odd[i * width + v] + (
                        T.shift_right(weights[row + i * width + v], T.uint8(2)) & T.uint8(0x33)
                    )
        for i in T.unroll(size // width):
            for v in T.vectorized(width):
                even[i * width + v] = even[i * width + v] - T.shift_left(
                    odd[i * width + v], T.uint8(2)
                )
        split_halves(even, 0, sums, 0, 2 * size)
        split_halves(odd, 0, sums, size, 3 * size)

    @T.macro
    def add_halves(weights, events, at, block, sums):
        """Fields of 4 bits, or halves of bytes."""
        for e in T.unroll(unrolled):
            row: T.let = (T.Cast("int32", events[at + e]) * blocks + block) * size
            split_halves(weights, row, sums, 0, size)

    add_chunk = add_pairs if bits == 2 else add_halves
    half = max(lanes // 2, size)
    add_offsets = add_product(lanes, accumulator, vector=True)
    clear_sums = clear(2 * half, "uint8", vector=True)
    add_sums = add(lanes, accumulator, vector=True)

    @T.macro
    def add_fields(x, weights, offsets, codes, events, counts, acc, s, oy, ox, first):
        total = T.alloc_buffer((1,), "int32")
        total[0] = 0
        for plane in T.unroll(planes):
            total[0] = total[0] + T.shift_left(counts[plane], plane)
        add_offsets(acc, offsets, first, total[0])
        for plane in T.unroll(planes):
            chunks: T.let = pieces(counts[plane], unrolled)
            for group in range(pieces(chunks, most)):
                sums = T.alloc_buffer((2 * half,), "uint8")
                clear_sums(sums)
                for chunk in range(T.min(most, chunks - group * most)):
                    at: T.let = plane * capacity + (group * most + chunk) * unrolled
                    add_chunk(weights, events, at, first // lanes, sums)
                for i in T.unroll(half // width):
                    for v in T.vectorized(width):
                        sums[i * width + v] = sums[i * width + v] - T.shift_left(
                            sums[half + i * width + v], T.uint8(4)
                        )
                add_sums(acc, 0, sums, 0, plane)
                if bits == 8:
                    add_sums(acc, 0, sums, half, plane + 4)

    return add_fields
