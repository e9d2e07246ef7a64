"""Rows of codes added as lanes of words, for targets without vectors.

Fields of a word are codes less an offset of their column, which are never negative: words are
added as they are, and nothing carries from lane to lane until a lane is full. Masks take a word's
fields apart into lanes that hold some rows, and these into wider ones, until lanes are as wide as
sums: fields of 2 bits become lanes of 4, 8 and then 16 bits. Each time the even lanes of a word
become one word and the odd ones another, so the columns of a word lie in the order of their
indices' reversed bits. Powers of two become such fields once per call of the layer.

Words have 32 bits, or 64 where registers have and neurons lie in their lanes. Sums lie in words,
each times its place: one that is negative borrows from the next. They begin as what the offsets add
up to, the number of rows times each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from tvm import tirx
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import Constant
from hqc.codegen.kernels.neurons import WORD
from hqc.codegen.kernels.spike_lists import SpikeLists, pieces, rows_at_once
from hqc.codegen.kernels.weights import StoredWeights

_WORTH_WIDENING_LATE = 4
"""Rows that a lane must hold."""

_SUMS = 8
"""Words of sums that registers hold."""

_LONG_ROW = 12
"""Words of a row from which on so many are made at once: it saves instructions and takes code."""


@dataclass(frozen=True)
class Lanes:
    """Columns in fields of words, and the wider lanes that add them up.

    A word holds neighbouring columns. Rows are added `unrolled` at a time in lanes of `first_bits`,
    which are added to lanes of `lane_bits`; these hold `chunks` times as many rows. `word_bits` is
    32 or 64.
    """

    word_bits: int
    columns: int
    field_bits: int
    first_bits: int
    unrolled: int
    lane_bits: int
    chunks: int

    @classmethod
    def of(cls, word_bits: int, columns: int, field_bits: int, largest: int) -> Lanes:
        """Lanes of such words for fields of that many bits that are at most `largest`."""
        widths = (b for b in (8, 16, 32) if b >= field_bits)
        bits = next(b for b in widths if ((1 << b) - 1) // largest >= _WORTH_WIDENING_LATE)
        rows, first_bits = ((1 << bits) - 1) // largest, 4 if field_bits == 2 else bits
        unrolled = rows_at_once(15 // largest if first_bits < bits else rows)
        return cls(word_bits, columns, field_bits, first_bits, unrolled, bits, rows // unrolled)

    @property
    def word(self) -> str:
        """The type of a word."""
        return f"uint{self.word_bits}"

    @property
    def parts(self) -> int:
        """Words of lanes that a word becomes."""
        return self.lane_bits // self.field_bits

    @property
    def first_parts(self) -> int:
        """Words of first lanes that a word becomes."""
        return self.first_bits // self.field_bits

    @property
    def per_word(self) -> int:
        """Columns of a word."""
        return self.word_bits // self.field_bits

    @property
    def row_words(self) -> int:
        """Words of a row."""
        return -(-self.columns // self.per_word)

    @property
    def group(self) -> int:
        """Words that are added at once."""
        sums = _SUMS if self.row_words >= _LONG_ROW else _SUMS // 2
        most = min(sums // self.parts, WORD // self.per_word)
        return math.gcd(self.row_words, max(most, 1))

    def shift(self, column):
        """Where in its word the field of a column begins."""
        return reversed_bits(column % self.per_word, self.per_word) * self.field_bits

    def store(self, fields: np.ndarray) -> np.ndarray:
        """Fields [K, columns] as words [K, row_words]."""
        columns = np.arange(self.row_words * self.per_word)
        padded = np.pad(fields, ((0, 0), (0, columns.size - self.columns))).astype(self.word)
        shifted = padded << self.shift(columns).astype(self.word)
        words = shifted.reshape(len(fields), self.row_words, self.per_word)
        return np.bitwise_or.reduce(words, axis=2)


def reversed_bits(index, size: int):
    """The bits of an index below `size`, a power of two, in reverse; of arrays or TIR."""
    bits = size.bit_length() - 1
    return sum(((index // (1 << b)) % 2 * (1 << (bits - 1 - b)) for b in range(bits)), index * 0)


def _lanes_of(word, bits: int, narrow: int, wide: int, part):
    """Every so many of a word's lanes of `narrow` bits as `wide` ones; `part` says which."""
    if narrow == wide:
        return word
    mask = sum(((1 << narrow) - 1) << at for at in range(0, bits, wide))
    shift = reversed_bits(part, wide // narrow) * narrow
    return T.shift_right(word, T.Cast(f"uint{bits}", shift)) & tirx.const(mask, f"uint{bits}")


@dataclass(frozen=True, eq=False)
class LaneCodes:
    """A layer's codes as fields of words: field = code - low, the least of all codes where fields
    of as many bits as are stored have room for that, else that of the column."""

    stored: StoredWeights
    low: int | None
    lanes: Lanes

    @classmethod
    def of(cls, stored: StoredWeights, word_bits: int = WORD) -> LaneCodes | None:
        """None for codes too wide for more than one in a word of 32 bits."""
        codes, columns = stored.codes, stored.codes.shape[1]
        low = min(int(codes.min(initial=0)), 0)
        largest = max(int(codes.max(initial=0)) - low, 1)
        narrowest = 8 if stored.is_shift else stored.field_bits
        if largest >= 1 << narrowest:
            low, largest = None, int((codes - stored.low).max())
        if largest >= 1 << 16 or narrowest > 16:
            return None
        field = next(b for b in (2, 4, 8, 16) if b >= narrowest and largest < 1 << b)
        return cls(stored, low, Lanes.of(word_bits, columns, field, largest))

    @property
    def form(self) -> tuple:
        """What code that adds them depends on."""
        return (self.stored.form, self.low, self.lanes)

    @property
    def unpacked_words(self) -> int:
        """Words that codes are unpacked to, and one more row; 0 where they are stored so."""
        return (len(self.stored.codes) + 1) * self.lanes.row_words if self.stored.is_shift else 0

    def constants(self, sum_bits: int) -> tuple[Constant, Constant]:
        """The codes as they are stored, with a row of zeros behind fields, and the least codes of
        columns [words of sums], none where all have one."""
        per_word = self.lanes.word_bits // sum_bits
        lows = np.pad(self.stored.low, (0, -self.stored.low.size % WORD)).reshape(-1, per_word)
        places = reversed_bits(np.arange(per_word), per_word) * sum_bits
        sums = (lows << places).sum(1) if self.low is None else []
        offsets = Constant(np.asarray(sums).astype(f"int{self.lanes.word_bits}"))
        if self.stored.is_shift:
            return self.stored.constants()[0], offsets
        low = self.stored.low if self.low is None else self.low
        fields = np.pad(self.stored.codes - low, ((0, 1), (0, 0)))
        return Constant(self.lanes.store(fields), is_weights=True), offsets

    def unpack(self):
        """A TIR macro: stored powers of two -> words of fields [K + 1, row_words], the last 0."""
        stored, lanes, low = self.stored, self.lanes, self.low
        read, rows, parts = stored.reader(), len(stored.codes), stored.parts
        row_items, row_words, columns = stored.row_items, lanes.row_words, lanes.columns
        word = lanes.word

        @T.macro
        def fill(weights, offsets, codes):
            for n in range((rows + 1) * row_words):
                codes[n] = T.Cast(word, 0)
            for k in range(rows):
                for part in T.unroll(parts):
                    for i in range(T.min(row_items, columns - part * row_items)):
                        column: T.let = part * row_items + i
                        code: T.let = T.Cast("int32", read(weights, offsets, k, i, part))
                        at: T.let = k * row_words + column // lanes.per_word
                        codes[at] = codes[at] | T.shift_left(
                            T.Cast(word, code - low), T.Cast(word, lanes.shift(column))
                        )

        return fill

    def add(self, lists: SpikeLists, accumulator: str, sum_bits: int):
        """A TIR macro: sums become those of the listed rows, each plane's shifted by its place."""
        lanes, low, unpacked = self.lanes, self.low, self.unpacked_words > 0
        group, parts, first_parts = lanes.group, lanes.parts, lanes.first_parts
        unrolled, chunks, row_words = lanes.unrolled, lanes.chunks, lanes.row_words
        first_bits, lane_bits = lanes.first_bits, lanes.lane_bits
        planes, capacity, per_word = lists.g.planes, lists.capacity, lanes.per_word
        word_bits, word = lanes.word_bits, lanes.word
        per_sum, scale = word_bits // sum_bits, row_words // lists.row_size
        word_sums, lane_sums = per_word // per_sum, sum_bits // lane_bits
        block, ones = WORD // per_word // group, sum(1 << i * sum_bits for i in range(per_sum))

        same = None if low is None else low * ones
        if accumulator == word and low is not None:
            same %= 1 << word_bits

        def row_word(weights, codes, at):
            return codes[at] if unpacked else weights[at]

        def begin(offsets, total, at):
            low_sum = offsets[at] if low is None else tirx.const(same, accumulator)
            return T.Cast(accumulator, low_sum) * T.Cast(accumulator, total)

        @T.macro
        def add_chunk(weights, codes, events, listed, at, sums):
            first = T.alloc_buffer((group * first_parts,), word)
            for i in T.unroll(group * first_parts):
                first[i] = T.Cast(word, 0)
            for e in T.unroll(unrolled):
                row: T.let = T.Cast("int32", events[listed + e]) * scale + at
                for i in T.unroll(group * first_parts):
                    first[i] = first[i] + _lanes_of(
                        row_word(weights, codes, row + i // first_parts),
                        word_bits,
                        lanes.field_bits,
                        first_bits,
                        i % first_parts,
                    )
            for i in T.unroll(group * parts):
                sums[i] = sums[i] + _lanes_of(
                    first[i // (parts // first_parts)],
                    word_bits,
                    first_bits,
                    lane_bits,
                    i % (parts // first_parts),
                )

        @T.macro
        def add_rows(x, weights, offsets, codes, events, counts, acc, s, oy, ox, first):
            total = T.alloc_buffer((1,), "int32")
            total[0] = counts[0]
            for plane in T.serial(1, planes):
                total[0] = total[0] + T.shift_left(counts[plane], plane)
            for i in range(WORD // per_sum):
                acc[i] = begin(offsets, total[0], first // per_sum + i)
            for plane in range(planes):
                for j in range(T.min(block, (row_words - first // per_word) // group)):
                    at: T.let = first // per_word + j * group
                    left = T.alloc_buffer((2,), "int32")
                    left[0] = pieces(counts[plane], unrolled)
                    left[1] = plane * capacity
                    while left[0] > 0:
                        size: T.let = T.min(left[0], chunks)
                        sums = T.alloc_buffer((group * parts,), word)
                        for i in T.unroll(group * parts):
                            sums[i] = T.Cast(word, 0)
                        for chunk in range(size):
                            listed: T.let = left[1] + chunk * unrolled
                            add_chunk(weights, codes, events, listed, at, sums)
                        left[0] = left[0] - size
                        left[1] = left[1] + size * unrolled
                        for i in T.unroll(group * parts * lane_sums):
                            lifted: T.let = _lanes_of(
                                sums[i // lane_sums], word_bits, lane_bits, sum_bits, i % lane_sums
                            )
                            to: T.let = j * group * word_sums + i
                            acc[to] = acc[to] + T.shift_left(
                                T.Cast(accumulator, lifted), T.Cast(accumulator, plane)
                            )

        return add_rows
