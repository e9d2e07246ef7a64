"""Rows of codes added as lanes of 32-bit words, for targets without vectors.

Lanes hold codes less an offset of their column, which are never negative: words are added as they
are, and nothing carries from lane to lane until a lane is full. Codes that are stored in fields of
words are added from there; powers of two become such fields once per call of the layer. What the
offsets add up to is the number of rows times each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import Constant
from hqc.codegen.kernels.neurons import WORD
from hqc.codegen.kernels.spike_lists import SpikeLists
from hqc.codegen.kernels.weights import StoredWeights

_WORTH_WIDENING_LATE = 4
"""Rows that a lane must hold."""

_SUMS = 4
"""Words of sums that registers hold."""


@dataclass(frozen=True)
class Lanes:
    """Columns in fields of words, and the wider lanes that add them up.

    A word holds neighbouring columns. Its fields are taken apart in `parts`, each of which has one
    field in every lane: column `part * lanes + lane` is the field of that part in that lane.
    `rows` is how many rows a lane holds.
    """

    columns: int
    field_bits: int
    lane_bits: int
    rows: int

    @classmethod
    def of(cls, columns: int, field_bits: int, largest: int) -> Lanes:
        """Lanes for fields of that many bits that are at most `largest`."""
        widths = (b for b in (8, 16, 32) if b >= field_bits)
        bits = next(b for b in widths if ((1 << b) - 1) // largest >= _WORTH_WIDENING_LATE)
        return cls(columns, field_bits, bits, ((1 << bits) - 1) // largest)

    @property
    def parts(self) -> int:
        """Fields of a lane."""
        return self.lane_bits // self.field_bits

    @property
    def lanes(self) -> int:
        """Lanes of a word."""
        return WORD // self.lane_bits

    @property
    def per_word(self) -> int:
        """Columns of a word."""
        return WORD // self.field_bits

    @property
    def row_words(self) -> int:
        """Words of a row."""
        return -(-self.columns // self.per_word)

    @property
    def group(self) -> int:
        """Words that are added at once."""
        return math.gcd(self.row_words, max(_SUMS // self.parts, 1))

    def shift(self, column):
        """Where in its word the field of a column begins."""
        place = column % self.per_word
        return place % self.lanes * self.lane_bits + place // self.lanes * self.field_bits

    def store(self, fields: np.ndarray) -> np.ndarray:
        """Fields [K, columns] as uint32 [K, row_words]."""
        columns = np.arange(self.row_words * self.per_word)
        padded = np.pad(fields, ((0, 0), (0, columns.size - self.columns))).astype(np.uint32)
        shifted = padded << self.shift(columns).astype(np.uint32)
        words = shifted.reshape(len(fields), self.row_words, self.per_word)
        return np.bitwise_or.reduce(words, axis=2)


def lanes_of(stored: StoredWeights) -> Lanes | None:
    """Lanes for a layer's codes; None for codes too wide for more than one in a word."""
    columns = stored.codes.shape[1]
    span = max(int((stored.codes - stored.low).max(initial=0)), 1)
    if span >= 1 << 16 or stored.field_bits > 16:
        return None
    narrowest = 8 if stored.is_shift else stored.field_bits
    field = next(b for b in (2, 4, 8, 16) if b >= narrowest and span < 1 << b)
    return Lanes.of(columns, field, span)


def lane_constants(stored: StoredWeights, lanes: Lanes) -> tuple[Constant, Constant]:
    """The codes as they are stored, and the offset of each column."""
    offsets = Constant(
        stored.low.astype(np.int8 if stored.low.min(initial=0) >= -128 else np.int32)
    )
    if stored.is_shift:
        return stored.constants()[0], offsets
    return Constant(lanes.store(stored.codes - stored.low), is_weights=True), offsets


def unpack_lanes(stored: StoredWeights, lanes: Lanes):
    """A TIR macro: stored powers of two -> uint32 fields [K, row_words]."""
    read, rows, parts = stored.reader(), len(stored.codes), stored.parts
    row_items, row_words, columns = stored.row_items, lanes.row_words, lanes.columns

    @T.macro
    def fill(weights, offsets, codes):
        for n in range(rows * row_words):
            codes[n] = T.uint32(0)
        for k in range(rows):
            for part in T.unroll(parts):
                for i in range(T.min(row_items, columns - part * row_items)):
                    column: T.let = part * row_items + i
                    code: T.let = T.Cast("int32", read(weights, offsets, k, i, part))
                    field: T.let = T.Cast("uint32", code - T.Cast("int32", offsets[column]))
                    at: T.let = k * row_words + column // lanes.per_word
                    codes[at] = codes[at] | T.shift_left(
                        field, T.Cast("uint32", lanes.shift(column))
                    )

    return fill


def add_lane_rows(lanes: Lanes, lists: SpikeLists, accumulator: str, stored: bool):
    """A TIR macro: add the listed rows, those of each plane shifted by its place.

    The rows are the weights as they are `stored`, or unpacked codes.
    """
    group, parts, row_words = lanes.group, lanes.parts, lanes.row_words
    planes, capacity = lists.g.planes, lists.capacity
    per_word, lane_mask = lanes.per_word, (1 << lanes.lane_bits) - 1
    field = (1 << lanes.field_bits) - 1
    field_mask = sum(field << i * lanes.lane_bits for i in range(lanes.lanes))
    block = WORD // per_word // group

    def rows_of(weights, codes):
        return weights if stored else codes

    def part_of(word, part):
        if parts == 1:
            return word
        return T.shift_right(word, T.uint32(part * lanes.field_bits)) & T.uint32(field_mask)

    @T.macro
    def add_events(x, weights, offsets, codes, events, counts, acc, s, oy, ox, first):
        total = T.alloc_buffer((1,), "int32")
        total[0] = counts[0]
        for plane in T.serial(1, planes):
            total[0] = total[0] + T.shift_left(counts[plane], plane)
        for v in range(T.min(WORD, lanes.columns - first)):
            acc[v] = acc[v] + T.Cast(accumulator, offsets[first + v]) * T.Cast(
                accumulator, total[0]
            )
        for plane in range(planes):
            for j in range(T.min(block, (row_words - first // per_word) // group)):
                at: T.let = first // per_word + j * group
                for chunk in range((counts[plane] + (lanes.rows - 1)) // lanes.rows):
                    sums = T.alloc_buffer((group * parts,), "uint32")
                    for i in T.unroll(group * parts):
                        sums[i] = T.uint32(0)
                    for e in range(T.min(lanes.rows, counts[plane] - chunk * lanes.rows)):
                        k: T.let = T.Cast(
                            "int32", events[plane * capacity + chunk * lanes.rows + e]
                        )
                        for i in T.unroll(group * parts):
                            sums[i] = sums[i] + part_of(
                                rows_of(weights, codes)[k * row_words + at + i // parts],
                                i % parts,
                            )
                    for lane in range(lanes.lanes):
                        for i in T.unroll(group * parts):
                            column: T.let = (
                                (j * group + i // parts) * per_word + i % parts * lanes.lanes + lane
                            )
                            lifted: T.let = T.shift_right(
                                sums[i], T.Cast("uint32", lane * lanes.lane_bits)
                            ) & T.uint32(lane_mask)
                            acc[column] = acc[column] + T.shift_left(
                                T.Cast(accumulator, lifted), T.Cast(accumulator, plane)
                            )

    return add_events
