"""Several small lanes in one 64-bit register, for targets without vectors.

Eight codes of 8 bits, four of 16 or two of 32 are added at once: their top bits are kept out of the
sum, so that nothing carries from lane to lane, and put back by exclusive or (Warren, Hacker's
Delight, section 2-18).
"""

from __future__ import annotations

from tvm.script import tirx as T

from hqc.codegen.kernels.weights import StoredWeights

REGISTER = 64


def unpack_words(stored_weights: StoredWeights, columns: int, lane_bits: int):
    """A TIR macro: stored rows -> uint64 codes [K, columns * lane_bits / 64], lane 0 lowest."""
    read = stored_weights.reader()
    rows, row_items = len(stored_weights.codes), stored_weights.row_items
    parts = stored_weights.parts
    row_words, lanes = columns * lane_bits // REGISTER, REGISTER // lane_bits
    mask = (1 << lane_bits) - 1

    @T.macro
    def fill(stored, offsets, codes):
        for k in range(rows):
            for w in range(row_words):
                codes[k * row_words + w] = T.uint64(0)
            for part in T.unroll(parts):
                for i in range(row_items):
                    column: T.let = part * row_items + i
                    lane: T.let = T.Cast("uint64", read(stored, offsets, k, i, part)) & T.uint64(
                        mask
                    )
                    at: T.let = k * row_words + column // lanes
                    shift: T.let = T.Cast("uint64", column % lanes * lane_bits)
                    codes[at] = codes[at] | T.shift_left(lane, shift)

    return fill


def add_word_rows(lanes: int, columns: int, lane_bits: int, accumulator: str, rows: int):
    """A TIR macro: add the rows events[begin : end] lane by lane, widened every `rows` rows."""
    words, row_words = lanes * lane_bits // REGISTER, columns * lane_bits // REGISTER
    per_word = REGISTER // lane_bits
    below_top = sum(((1 << (lane_bits - 1)) - 1) << (i * lane_bits) for i in range(per_word))

    @T.macro
    def add_rows(acc, codes, events, begin, end, plane, first):
        sums = T.alloc_buffer((words,), "uint64")
        for chunk in range((end - begin + (rows - 1)) // rows):
            for w in T.unroll(words):
                sums[w] = T.uint64(0)
            for e in range(T.min(rows, end - begin - chunk * rows)):
                k: T.let = T.Cast("int32", events[begin + chunk * rows + e])
                for w in T.unroll(words):
                    a: T.let = sums[w]
                    b: T.let = codes[k * row_words + first * lane_bits // REGISTER + w]
                    sums[w] = T.bitwise_xor(
                        (a & T.uint64(below_top)) + (b & T.uint64(below_top)),
                        T.bitwise_xor(a, b) & T.bitwise_not(T.uint64(below_top)),
                    )
            for w in T.unroll(words):
                for i in T.unroll(per_word):
                    raised: T.let = T.shift_left(sums[w], T.uint64(REGISTER - (i + 1) * lane_bits))
                    lane: T.let = T.shift_right(
                        T.Cast("int64", raised), T.int64(REGISTER - lane_bits)
                    )
                    acc[w * per_word + i] = acc[w * per_word + i] + T.shift_left(
                        T.Cast(accumulator, lane), T.Cast(accumulator, plane)
                    )

    return add_rows
