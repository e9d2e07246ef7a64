"""How the inputs of a pixel that fire are listed.

With vectors, eight inputs are listed at once by a table of 256 bytes' set bits: eight indices are
stored and the end moves on by how many count. Nothing branches, so nothing is predicted wrongly.
Where an instruction moves the lanes of a mask together, the inputs of a word are listed at once, as
indices of 16 bits, or of two words where registers make up vectors of so many. Without vectors,
they are listed one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tvm import tirx
from tvm.script import tirx as T

from hqc.codegen.host_features import host_features
from hqc.codegen.kernels.kernel_base import Constant
from hqc.codegen.kernels.neurons import WORD, lowest_bit

if TYPE_CHECKING:
    from hqc.codegen.kernels.spike_lists import SpikeLists

MASKS = {"mask": 1, "mask64": 2}
"""Words whose inputs are listed at once, by what lists them."""

_BYTE = 8
_BYTES = np.arange(256, dtype=np.uint8)
_BITS = (_BYTES[:, None] >> np.arange(_BYTE)) & 1
SET_BITS = Constant(
    np.concatenate([np.argsort(1 - _BITS, axis=1, kind="stable").reshape(-1), _BITS.sum(1)]).astype(
        np.uint8
    )
)
"""The set bits of each byte, lowest first, made up to eight; then how many there are."""


def listing_on(listing: str) -> str:
    """How spikes are listed where a target says so: `host` is as this machine can, by a mask if an
    instruction of it moves lanes together."""
    if listing != "host":
        return listing
    return "mask" if "avx512vbmi2" in host_features() else "table"


def pixel_lister(lists: SpikeLists):
    """A TIR macro (x, word, flip, table, events, at, end, first): add to events[at + end ..] the
    inputs x[word ..] that fire, or those that do not if `flip` is 1, each and `first` times the
    lists' `row_size`."""
    if not lists.vector:
        return _by_bits(lists)
    return _by_masks(lists) if lists.words_at_once else _by_table(lists)


def _inputs(lists: SpikeLists, words: int = 1):
    """A Python function (x, word, w, flip) -> TIR integer: the inputs of a pixel's words from w on;
    if `flip` is 1, those that do not fire."""
    g, dtype, ones = lists.g, f"uint{words * WORD}", (1 << words * WORD) - 1
    last = (1 << g.in_channels - (g.in_words - words) * WORD) - 1

    def inputs(x, word, w, flip):
        fire = x[word + w]
        if words > 1:
            fire = T.call_intrin(dtype, "tirx.reinterpret", x[T.Ramp(word + w, 1, words)])
        if not lists.complemented:
            return fire
        there = tirx.const(ones, dtype)
        if last != ones:
            there = T.Select(w == g.in_words - words, tirx.const(last, dtype), there)
        return fire ^ (there * T.Cast(dtype, flip))

    return inputs


def _by_table(lists: SpikeLists):
    index, in_words, inputs = lists.index, lists.g.in_words, _inputs(lists)
    octets = -(-lists.g.in_channels // _BYTE)

    @T.macro
    def by_table(x, word, flip, table, events, at, end, first):
        for w in range(in_words):
            for b in T.unroll(WORD // _BYTE):
                if w * (WORD // _BYTE) + b < octets:
                    octet: T.let = T.Cast(
                        "int32",
                        T.shift_right(inputs(x, word, w, flip), T.uint32(b * _BYTE))
                        & T.uint32(255),
                    )
                    base: T.let = T.Cast(index, first + w * WORD + b * _BYTE)
                    for v in T.vectorized(_BYTE):
                        events[at + end[0] + v] = T.Cast(index, table[octet * _BYTE + v]) + base
                    end[0] = end[0] + T.Cast("int32", table[256 * _BYTE + octet])

    return by_table


def _by_masks(lists: SpikeLists):
    words = min(lists.words_at_once, lists.g.in_words)
    count, left = divmod(lists.g.in_words, words)
    whole, rest = _by_mask(lists, words), _by_mask(lists, max(left, 1))

    @T.macro
    def by_masks(x, word, flip, table, events, at, end, first):
        for w in range(count):
            whole(x, word, w * words, flip, events, at, end, first)
        if left > 0:
            rest(x, word, count * words, flip, events, at, end, first)

    return by_masks


def _by_mask(lists: SpikeLists, words: int):
    """A TIR macro: list the inputs of so many words from the w-th on."""
    inputs, row_size = _inputs(lists, words), lists.row_size
    lanes = words * WORD
    indices = f"{lists.index}x{lanes}"

    def together(bits):
        """Where rows of the bits that are set begin, at the front of a vector."""
        lane_mask = T.call_intrin(f"boolx{lanes}", "tirx.reinterpret", bits)
        each = T.Cast(indices, T.Ramp(0, row_size, lanes))
        return T.call_llvm_pure_intrin(
            indices, "llvm.experimental.vector.compress", each, lane_mask, each
        )

    @T.macro
    def by_mask(x, word, w, flip, events, at, end, first):
        base: T.let = T.Cast(lists.index, (first + w * WORD) * row_size)
        # If the mask had a name, or were half a word, LLVM would not see that an instruction counts
        # its bits.
        events[T.Ramp(at + end[0], 1, lanes)] = together(inputs(x, word, w, flip)) + T.Broadcast(
            base, lanes
        )
        end[0] = end[0] + T.Cast("int32", T.popcount(inputs(x, word, w, flip)))

    return by_mask


def _by_bits(lists: SpikeLists):
    index, row_size, inputs = lists.index, lists.row_size, _inputs(lists)

    @T.macro
    def by_bits(x, word, flip, table, events, at, end, first):
        left = T.alloc_buffer((1,), "uint32")
        for w in range(lists.g.in_words):
            left[0] = inputs(x, word, w, flip)
            while left[0] != T.uint32(0):
                events[at + end[0]] = T.Cast(
                    index, (first + w * WORD + lowest_bit(left[0])) * row_size
                )
                left[0] = left[0] & (left[0] - T.uint32(1))
                end[0] = end[0] + 1

    return by_bits
