"""The epilogue that every layer ends in: charge, fire, reset, and pack 32 spikes into a word."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from tvm import tirx
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import Constant, State, Stride
from hqc.codegen.kernels.lane_neurons import NeuronLanes
from hqc.dialect import find_op
from hqc.dialect.fixed_point_lif import NAMES
from hqc.dialect.layouts import WORD
from hqc.dialect.planes import words

_NEVER = 2**31 - 1


@dataclass(frozen=True)
class Neurons:
    """`FixedPointLIF` of a node, as expressions of TIR; see there for the arithmetic.

    `resets_to_zero` says that all of its resets are 0, `lanes` how many neurons are computed side
    by side in a word.
    """

    frac_bits: int
    exact: int
    leak_multiplier: int
    leak_shift: int
    soft_reset: int
    potential_bits: int
    resets_to_zero: bool
    lanes: int = 1

    @classmethod
    def of(cls, node: ir.Node) -> Neurons:
        """Read the node's attributes, and its resets, which are its last input."""
        attributes = find_op(node).attributes(node)
        resets = node.inputs[-1].const_value.numpy()
        form, lanes = (attributes[name] for name in NAMES), attributes.get("lanes", 1)
        return cls(*form, resets_to_zero=not resets.any(), lanes=lanes)

    def in_lanes(self, channels: int) -> NeuronLanes:
        """The words of so many neurons, where several are computed side by side."""
        return NeuronLanes(self.lanes, self.potential_bits, self.frac_bits, channels)

    @property
    def potential(self) -> str:
        """The type that potentials have between time steps: a word's, where lanes hold them."""
        return f"int{self.potential_bits}" if self.lanes == 1 else self.in_lanes(0).word

    @property
    def level(self) -> str:
        """The type of bias, threshold and reset as they are stored."""
        return "int32" if self.lanes == 1 else self.in_lanes(0).word

    def at_rest(self):
        """A potential that is 0, or a word of them."""
        return tirx.const(0 if self.lanes == 1 else self.in_lanes(0).rest, self.potential)

    def row(self, channels: int, vector: bool) -> int:
        """Elements that hold the potentials of so many neurons."""
        return row_of(channels, vector) if self.lanes == 1 else self.in_lanes(channels).row

    def state(self, positions: int, row: int) -> tuple[State, Stride]:
        """What potentials take in memory, rows of so many; whole runs need one row at a time."""
        size = row * self.potential_bits * self.lanes // 8
        return State(size, positions * size), Stride(row)

    def at(self, value, t):
        """A level at time step t: it doubles each step where potentials do."""
        return T.shift_left(value, t) if self.exact else value

    def charge(self, u, accumulator, bias, t):
        """The membrane potential after this step's input."""
        current = T.shift_left(accumulator, T.int32(self.frac_bits)) + bias
        if self.exact:
            return u + T.shift_left(current, t)
        if self.leak_multiplier == 0:
            return current
        if self.leak_shift == 0:
            return u + current
        half = (1 << self.leak_shift) >> 1
        if self.leak_multiplier == 1:
            return T.shift_right(u + T.int32(half), T.int32(self.leak_shift)) + current
        product = T.Cast("int64", u) * T.int64(self.leak_multiplier) + T.int64(half)
        return T.Cast("int32", T.shift_right(product, T.int64(self.leak_shift))) + current

    def after(self, charged, reset, t):
        """The membrane potential after a spike."""
        if self.soft_reset:
            return charged - self.at(reset, t)
        return T.int32(0) if self.resets_to_zero else self.at(reset, t)

    def levels(
        self, node: ir.Node, first: int, channels: int, time_steps: int, vector: bool
    ) -> Constant:
        """Bias, threshold and reset of the node, int32: with vectors [3, row], spare columns
        silent, else [row, 3], or [row, 2] where resets are all 0; those of `NeuronLanes`."""
        if self.lanes > 1:
            bias, threshold = (
                np.broadcast_to(v.const_value.numpy().astype(np.int64).reshape(-1), channels)
                for v in node.inputs[first : first + 2]
            )
            return Constant(self.in_lanes(channels).levels(bias, threshold))
        never = _NEVER >> (time_steps - 1) if self.exact else _NEVER
        levels = np.zeros((3, row_of(channels, vector)), np.int32)
        levels[1] = never
        for row, value in zip(levels, node.inputs[first : first + 3], strict=True):
            row[:channels] = value.const_value.numpy().reshape(-1)
        if vector:
            return Constant(levels)
        return Constant(np.ascontiguousarray(levels[: self.level_count].T))

    @property
    def level_count(self) -> int:
        """Levels of a neuron, where there are no vectors."""
        return 2 if self.resets_to_zero and not self.soft_reset else 3


def row_of(channels: int, vector: bool) -> int:
    """Columns of a position's potentials: whole words where vectors are, else the channels."""
    return words(channels) * WORD if vector else channels


def used_lanes(channels: int, lanes: int) -> int:
    """Lanes that vectors take: half a word's for channels that need no more."""
    return WORD // 2 if channels <= WORD // 2 else lanes


def word_of(fires, lanes: int = WORD):
    """Comparisons as bits of a uint32, the first lowest: instructions gather them, where machines
    have such."""
    # TVM's own checks take a truth value for a byte; LLVM has it as a bit.
    return T.Cast("uint32", T.call_intrin(f"uint{lanes}", "tirx.reinterpret", fires))


def lowest_bit(word):
    """Index of the lowest set bit of a uint32 that is not 0, as int32."""
    index = T.call_llvm_pure_intrin("uint32", "llvm.cttz", word, tirx.const(True, "bool"))
    return T.Cast("int32", index)


def fire(neurons: Neurons, channels: int, vector: bool, in_pairs: bool = False):
    """A TIR macro: the epilogue of 32 channels from `n` on.

    acc[a ..] are their sums, u[m ..] their potentials, `levels` bias, threshold and reset of all
    columns; the spikes become the word y[w]. Sums `in_pairs` are such as `Accumulation` says, and
    a counts sums; only targets without vectors have these.
    """
    if neurons.lanes > 1:
        return neurons.in_lanes(channels).fire()
    if vector:
        return _fire_vectors(neurons, row_of(channels, vector), used_lanes(channels, WORD))
    return _fire_loop(neurons, channels, in_pairs)


def _sum_of_pair(acc, n):
    """The n-th of sums that lie in pairs in words; the first of a pair borrows from the second."""
    second = n % 2
    lifted = T.shift_right(acc[n // 2] + second * (1 << 15), second * 16)
    return T.Cast("int32", T.Cast("int16", lifted))


def _fire_loop(neurons: Neurons, channels: int, in_pairs: bool):
    """The epilogue of the channels that are there, one by one.

    Whether a neuron keeps its potential enters the word from above and is shifted down to its
    place: a shift by a constant and an instruction or two, where a place that is counted takes
    three. Spikes are the rest.
    """
    count, at_once = neurons.level_count, 1 if channels % 2 else 2

    def sum_of(acc, n):
        return _sum_of_pair(acc, n) if in_pairs else T.Cast("int32", acc[n])

    @T.macro
    def epilogue(acc, a, u, m, levels, n, y, w, t):
        word = T.alloc_buffer((1,), "uint32")
        word[0] = T.uint32(0)
        size: T.let = T.min(WORD, channels - n)
        for pair in range(size // at_once):
            for i in T.unroll(at_once):
                v: T.let = pair * at_once + i
                at: T.let = (n + v) * count
                charged: T.let = neurons.charge(
                    T.Cast("int32", u[m + v]), sum_of(acc, a + v), levels[at], t
                )
                keeps: T.let = charged < neurons.at(levels[at + 1], t)
                word[0] = T.shift_right(word[0], T.uint32(1)) | T.Select(
                    keeps, T.uint32(1 << (WORD - 1)), T.uint32(0)
                )
                u[m + v] = T.Cast(
                    neurons.potential,
                    T.Select(keeps, charged, neurons.after(charged, levels[at + 2], t)),
                )
        y[w] = T.shift_right(T.bitwise_not(word[0]), T.Cast("uint32", WORD - size))

    return epilogue


def _fire_vectors(neurons: Neurons, columns: int, lanes: int):
    @T.macro
    def epilogue(acc, a, u, m, levels, n, y, w, t):
        charged = T.alloc_buffer((lanes,), "int32")
        for v in T.vectorized(lanes):
            charged[v] = neurons.charge(
                T.Cast("int32", u[m + v]), T.Cast("int32", acc[a + v]), levels[n + v], t
            )
        for v in T.vectorized(lanes):
            u[m + v] = T.Cast(
                neurons.potential,
                T.Select(
                    charged[v] >= neurons.at(levels[columns + n + v], t),
                    neurons.after(charged[v], levels[2 * columns + n + v], t),
                    charged[v],
                ),
            )
        y[w] = word_of(
            charged[T.Ramp(0, 1, lanes)] >= neurons.at(levels[T.Ramp(columns + n, 1, lanes)], t),
            lanes,
        )

    return epilogue
