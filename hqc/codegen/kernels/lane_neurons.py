"""Neurons side by side in lanes of one word: the epilogue of targets without vectors.

A word holds the potentials of some channels, each in a lane of `potential_bits`, and every
operation computes all of them. That asks for potentials that halve at every step, resets that are 0
and room for what is computed (`lanes_hold`). In a lane lies

    v = u + 2^(bits - 1) - 1        so that it is never negative and does not touch its neighbours;

a step is v' = (v >> 1) + (sum << frac_bits) + bias + 2^(bits - 2), since v >> 1 is (u + 1) >> 1 and
2^(bits - 2) - 1 more. A neuron fires if the highest bit is set, and still is when threshold - 1 is
taken from the lane; the lane then becomes 2^(bits - 1) - 1, which is u = 0. Sums may be negative: a
word of them is the sum of its lanes, each times its place, and so is what is added to it, so that
carries cancel out.

The lanes of a word are channels that lie as far apart as there are words, so that the bits of
those that fire are gathered by one shift a word.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import tirx
from tvm.script import tirx as T

from hqc.dialect.layouts import WORD
from hqc.dialect.planes import words


@dataclass(frozen=True)
class NeuronLanes:
    """`lanes` neurons of `bits` bits each in a word."""

    lanes: int
    bits: int
    frac_bits: int
    channels: int

    @property
    def word(self) -> str:
        """The type of a word."""
        return f"uint{self.lanes * self.bits}"

    @property
    def per_block(self) -> int:
        """Words of 32 channels."""
        return WORD // self.lanes

    @property
    def row(self) -> int:
        """Words of a position."""
        return sum(map(self._size, range(words(self.channels))))

    @property
    def rest(self) -> int:
        """A word of potentials that are 0."""
        return self._all(2 ** (self.bits - 1) - 1)

    def _size(self, block: int) -> int:
        """Words of the block's channels."""
        return -(-min(self.channels - block * WORD, WORD) // self.lanes)

    def _all(self, value: int) -> int:
        return sum(value << lane * self.bits for lane in range(self.lanes))

    def order(self) -> np.ndarray:
        """The channel of each lane, word after word: int [row * lanes], -1 where there is none."""
        blocks = []
        for block in range(words(self.channels)):
            size = self._size(block)
            channel = np.arange(size)[:, None] + np.arange(self.lanes) * size
            left = self.channels - block * WORD
            blocks.append(np.where(channel < left, channel + block * WORD, -1))
        return np.concatenate(blocks).reshape(-1)

    def levels(self, bias: np.ndarray, threshold: np.ndarray) -> np.ndarray:
        """What a step adds to the potentials of a word, and what it takes from them to see which
        fire: [row, 2] of the words' type, from int64 [channels]. Spare lanes never fire."""
        order = self.order()
        added, taken = (
            np.where(order < 0, 0, values[order]).reshape(self.row, self.lanes)
            for values in (bias, np.minimum(threshold, 2 ** (self.bits - 1)) - 1)
        )
        places = np.arange(self.lanes) * self.bits
        made = [(v << places).sum(1) for v in (added + 2 ** (self.bits - 2), taken)]
        return np.stack(made, 1).astype(self.word)

    def fire(self):
        """A TIR macro: the epilogue of the 32 channels from `n` on, as `neurons.fire` has it; acc,
        u and levels hold words."""
        lanes, bits, word, frac_bits = self.lanes, self.bits, self.word, self.frac_bits
        sizes = {*map(self._size, range(words(self.channels)))}
        at_once = 1 if any(s % 2 for s in sizes) else 2
        per_block, last = self.per_block, self._size(words(self.channels) - 1)
        halves = tirx.const(self._all(2 ** (bits - 1) - 1), word)
        tops = tirx.const(self._all(2 ** (bits - 1)), word)

        def size_of(n):
            return T.Select(n + WORD > self.channels, last, per_block) if len(sizes) > 1 else last

        def spikes_of(fired, size):
            ones = T.shift_left(T.uint32(1), T.Cast("uint32", size)) - T.uint32(1)
            spikes = T.uint32(0)
            for lane in range(lanes):
                ended = T.shift_right(fired, T.Cast(word, bits * (lane + 1) - size))
                bits_of_lane = T.Cast("uint32", ended) & ones
                spikes = spikes | T.shift_left(bits_of_lane, T.Cast("uint32", lane * size))
            return spikes

        @T.macro
        def epilogue(acc, a, u, m, levels, n, y, w, t):
            fired = T.alloc_buffer((1,), word)
            fired[0] = T.Cast(word, 0)
            size: T.let = size_of(n)
            for chunk in range(size // at_once):
                for k in T.unroll(at_once):
                    i: T.let = chunk * at_once + k
                    at: T.let = (n // lanes + i) * 2
                    charged: T.let = (
                        (T.shift_right(u[m + i], T.Cast(word, 1)) & halves)
                        + T.shift_left(T.Cast(word, acc[a // lanes + i]), T.Cast(word, frac_bits))
                        + levels[at]
                    )
                    fires: T.let = ((charged | tops) - levels[at + 1]) & charged & tops
                    cleared: T.let = fires - T.shift_right(fires, T.Cast(word, bits - 1))
                    u[m + i] = (charged | cleared) ^ fires
                    fired[0] = T.shift_right(fired[0], T.Cast(word, 1)) | fires
            y[w] = spikes_of(fired[0], size)

        return epilogue
