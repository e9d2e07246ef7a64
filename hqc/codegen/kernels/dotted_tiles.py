"""Sums of a tile by instructions that add the products of four bytes by four.

Inputs are taken apart into digits of a byte, as many as hold all of them (`input_bytes`); the sums
of each digit are made apart, and added up in their places at the end. What is exact for bytes is so
for all: nothing is rounded. Where an instruction takes unsigned bytes by signed ones, the highest
digit, which is signed, is 128 more; where it takes signed ones, all others are 128 less. What that
comes to is known for each output, and corrected.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.host_features import host_features
from hqc.codegen.kernels.geometry import Geometry, code_rows
from hqc.codegen.kernels.kernel_base import Constant
from hqc.codegen.kernels.lanes import overlapping_width
from hqc.codegen.kernels.tile_sums import Tile, TileSums
from hqc.codegen.kernels.weights import StoredWeights
from hqc.dialect import find_op

_WORD_BYTES = 4

_INSTRUCTIONS = {
    128: "llvm.aarch64.neon.sdot.v4i32.v16i8",
    256: "llvm.x86.avx512.vpdpbusd.256",
    512: "llvm.x86.avx512.vpdpbusd.512",
}
"""By the bits of their vectors. The first takes signed bytes by signed ones."""

_POSITIONS = {128: 14, 256: 12, 512: 14}
"""Positions of a tile: registers hold a vector of sums of each, of one digit at a time."""

_TILE_BYTES = 1023
"""What the sums of a tile may take: TVM keeps less than 1 KiB on the stack."""

_VECTOR = 32
"""Inputs that are taken apart at once."""


def dot_bits(dots: str) -> int:
    """Bits of the vectors whose bytes a machine multiplies, this one for "host"; 0 for none."""
    if dots != "host":
        return {"aarch64": 128, "none": 0}[dots]
    by_feature = {"avx512vnni": 512, "avxvnni": 256, "dotprod": 128}
    return next((bits for feature, bits in by_feature.items() if feature in host_features()), 0)


def takes_signed(bits: int) -> bool:
    """Whether the instruction of such vectors takes inputs with a sign."""
    return bits == 128


def four_inputs(inputs, at, bits: int):
    """The four bytes from `at` on, in every four of a vector."""
    word = T.call_intrin("uint32", "tirx.reinterpret", inputs[T.Ramp(at, 1, _WORD_BYTES)])
    return T.call_intrin(f"int8x{bits // 8}", "tirx.reinterpret", T.Broadcast(word, bits // 32))


def dot(sums, taken, codes, bits: int):
    """The sums, int32, and the products of four inputs and their codes, added to each."""
    return T.call_llvm_pure_intrin(f"int32x{bits // 32}", _INSTRUCTIONS[bits], sums, taken, codes)


def suits_dots(node: ir.Node) -> bool:
    """Whether a PotentialConv has windows of one pixel and codes that are bytes, and 32 bits hold
    the sums of a digit."""
    _, height, width, _ = node.inputs[0].shape.numpy()
    codes = code_rows(node).astype(np.int64)
    largest = np.abs(codes).sum(0).max(initial=0) * 255
    stored = StoredWeights.of(node, codes)
    bytes_ = stored.is_packed and stored.code == "int8"
    return bytes_ and largest < 1 << 31 and Geometry.of(node, height, width, 1).is_pointwise


def dotted_tiles(
    node: ir.Node, g: Geometry, stored: StoredWeights, positions: int, accumulator: str
) -> TileSums:
    """Sums of so many positions in all, by the node's `dot_bits` and `input_bytes`."""
    bits, digits = map(find_op(node).attributes(node).get, ("dot_bits", "input_bytes"))
    in_columns = node.inputs[0].shape.numpy()[-1]
    lanes, room = bits // 32, _TILE_BYTES // np.dtype(accumulator).itemsize
    tile = Tile.of(positions, min(_POSITIONS[bits], room // lanes), lanes)
    return TileSums(
        tile=tile,
        accumulator=accumulator,
        weights=stored.constants(),
        code="uint32",
        codes_size=-(-g.in_channels // _WORD_BYTES) * g.columns * _WORD_BYTES,
        add=_add_dots(g, in_columns, accumulator, tile, bits, digits),
        key=("dotted", stored.form, tile, accumulator, bits, digits),
        prepare=_unpack(g, stored, bits),
        look=_take_apart(in_columns, tile, bits, digits),
        digits_size=digits * tile.positions * in_columns,
        corrections=Constant(_corrections(g, stored, bits, digits).astype(accumulator)),
    )


def _flips(bits: int) -> tuple[int, int]:
    """Which bits of all lower digits are turned over, and of the highest."""
    return (128, 0) if takes_signed(bits) else (0, 128)


def _corrections(g: Geometry, stored: StoredWeights, bits: int, digits: int) -> np.ndarray:
    """What is added to the sums of each output: int64 [columns], of which 32 bits do where sums
    have no more, since all wrap around."""
    lower, highest = _flips(bits)
    less = sum(lower << 8 * d for d in range(digits - 1)) - (highest << 8 * (digits - 1))
    return np.pad(stored.codes.sum(0) * less, (0, g.columns - stored.codes.shape[1]))


def _unpack(g: Geometry, stored: StoredWeights, bits: int):
    """A TIR macro: stored rows -> words [K / 4, columns] of the codes of four inputs, or 0."""
    inputs, join = len(stored.codes), join_rows(stored, g.columns, bits)

    @T.macro
    def fill(weights, offsets, codes):
        for row in range(inputs // _WORD_BYTES):
            join(weights, offsets, codes, row, row * _WORD_BYTES, 1, _WORD_BYTES)
        if inputs % _WORD_BYTES > 0:
            last: T.let = inputs // _WORD_BYTES
            join(weights, offsets, codes, last, last * _WORD_BYTES, 1, inputs % _WORD_BYTES)

    return fill


def join_rows(stored: StoredWeights, columns: int, bits: int):
    """A TIR macro (weights, offsets, codes, row, first, apart, count): codes[row], words [columns],
    are the codes of `count` inputs from `first` on, which lie so far `apart`, or 0."""
    read, row_items, parts = stored.reader(), stored.row_items, stored.parts
    used = stored.columns
    width = overlapping_width(row_items, most=min(bits // 8, _VECTOR))

    def byte(stored_, offsets, k, i, part, place):
        code = T.Cast("uint32", T.Cast("uint8", read(stored_, offsets, k, i, part)))
        return T.shift_left(code, T.uint32(8 * place))

    def word(stored_, offsets, k, i, part, apart, count):
        joined = byte(stored_, offsets, k, i, part, 0)
        for place in range(1, count):
            joined = joined | byte(stored_, offsets, k + place * apart, i, part, place)
        return joined

    @T.macro
    def join(weights, offsets, codes, row, first, apart, count):
        for part in T.unroll(parts):
            for vector in range(-(-row_items // width)):
                begin: T.let = T.min(vector * width, row_items - width)
                for v in T.vectorized(width):
                    codes[row * columns + part * row_items + begin + v] = word(
                        weights, offsets, first, begin + v, part, apart, count
                    )
        for i in T.serial(columns - used):
            codes[row * columns + used + i] = T.uint32(0)

    return join


def _take_apart(in_columns: int, tile: Tile, bits: int, digits: int):
    """A TIR macro: the digits [digit, position, input] of a tile's inputs."""
    (lower, highest), size = _flips(bits), tile.positions

    @T.macro
    def take_apart(x, apart, position, last):
        for p in range(size):
            for chunk in range(in_columns // _VECTOR):
                at: T.let = T.min(position + p, last) * in_columns + chunk * _VECTOR
                for d in T.unroll(digits):
                    to: T.let = (d * size + p) * in_columns + chunk * _VECTOR
                    for v in T.vectorized(_VECTOR):
                        apart[to + v] = T.bitwise_xor(
                            T.Cast("uint8", T.shift_right(x[at + v], 8 * d)),
                            T.Select(d < digits - 1, T.uint8(lower), T.uint8(highest)),
                        )

    return take_apart


def _add_dots(g: Geometry, in_columns: int, accumulator: str, tile: Tile, bits: int, digits: int):
    """A TIR macro: the sums of a tile, from its digits."""
    lanes, size, columns = tile.lanes, tile.positions, g.columns
    rows, four = -(-g.in_channels // _WORD_BYTES), f"int8x{bits // 8}"
    place = "uint32" if accumulator == "int32" else accumulator  # what wraps around comes back

    @T.macro
    def add_dots(x, weights, offsets, codes, apart, corrections, sums, last, _y, position, first):
        for p in T.unroll(size):
            for v in T.vectorized(lanes):
                sums[p * lanes + v] = corrections[first + v]
        for d in range(digits):
            acc = T.alloc_buffer((size * lanes,), "int32")
            for i in T.unroll(size):
                for v in T.vectorized(lanes):
                    acc[i * lanes + v] = 0
            for k in range(rows):
                row = T.alloc_buffer((lanes,), "uint32")
                for v in T.vectorized(lanes):
                    row[v] = codes[k * columns + first + v]
                for p in T.unroll(size):
                    acc[T.Ramp(p * lanes, 1, lanes)] = dot(
                        acc[T.Ramp(p * lanes, 1, lanes)],
                        four_inputs(apart, (d * size + p) * in_columns + k * _WORD_BYTES, bits),
                        T.call_intrin(four, "tirx.reinterpret", row[T.Ramp(0, 1, lanes)]),
                        bits,
                    )
            for p in T.unroll(size):
                for v in T.vectorized(lanes):
                    sums[p * lanes + v] = T.Cast(
                        accumulator,
                        T.Cast(place, sums[p * lanes + v])
                        + T.shift_left(T.Cast(place, acc[p * lanes + v]), T.Cast(place, 8 * d)),
                    )

    return add_dots
