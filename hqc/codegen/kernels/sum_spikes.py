"""SumSpikes: spikes per channel, kept between time steps.

Spikes of 32 channels are counted at once, bit by bit: word i of the counts holds bit i of all 32
counts. Three words of one weight become one of it and a carry, in five operations; three of these
add four words of spikes, and one carry is left for the upper bits. Counts are taken apart at the
end.
"""

from __future__ import annotations

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import ANY, Input, KernelCall, Output, kernel
from hqc.codegen.kernels.neurons import WORD

_ADDED = 2
"""Lowest bits of the counts, to which two to the power of so many words are added at once."""


@kernel("SumSpikes")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a SumSpikes; its output lasts between time steps."""
    time_steps, height, width, planes, in_words = node.inputs[0].shape.numpy()
    channels = node.attributes["channels"].value
    sizes = time_steps, height * width, planes, in_words, channels
    return KernelCall(lambda: _build(*sizes), (Input(0), Output()), ("sum", *sizes))


def _add_words(level: int, stride: int):
    """A TIR macro: add 2^level words, x[at], x[at + stride] ..., to the lowest `level` bits of the
    counts; what is carried from these becomes carries[level]."""
    if level == 0:

        @T.macro
        def take(x, at, counts, carries):
            carries[0] = x[at]

        return take
    add_half, half = _add_words(level - 1, stride), stride << (level - 1)

    @T.macro
    def add_both(x, at, counts, carries):
        add_half(x, at, counts, carries)
        first: T.let = carries[level - 1]
        add_half(x, at + half, counts, carries)
        second: T.let = carries[level - 1]
        either: T.let = first ^ second
        carries[level] = (first & second) | (either & counts[level - 1])
        counts[level - 1] = counts[level - 1] ^ either

    return add_both


@T.macro
def _add_carry(counts, carries, level, bits):
    """A TIR macro: add carries[level] to the counts from bit `level` on."""
    for bit in T.unroll(bits - level):
        carry: T.let = counts[level + bit] & carries[level]
        counts[level + bit] = counts[level + bit] ^ carries[level]
        carries[level] = carry


def _build(time_steps: int, positions: int, planes: int, in_words: int, channels: int):
    bits, row_words = max((time_steps * positions).bit_length(), _ADDED), planes * in_words
    add_one, add_many, many = _add_words(0, row_words), _add_words(_ADDED, row_words), 1 << _ADDED

    @T.prim_func(s_tir=True)
    def sum_spikes(
        x_p: T.handle("uint32"), y_p: T.handle("int32"), t_begin: T.int32, steps: T.int32
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "uint32", data=x_p)
        y = T.decl_buffer((ANY,), "int32", data=y_p)
        if t_begin == 0:
            for c in range(channels):
                y[c] = 0
        for word in range(row_words):
            counts = T.alloc_buffer((bits,), "uint32")
            carries = T.alloc_buffer((_ADDED + 1,), "uint32")
            for bit in T.unroll(bits):
                counts[bit] = T.uint32(0)
            rows: T.let = steps * positions
            for chunk in range(rows // many):
                add_many(x, chunk * many * row_words + word, counts, carries)
                _add_carry(counts, carries, _ADDED, bits)
            for row in range(rows % many):
                add_one(x, (rows - rows % many + row) * row_words + word, counts, carries)
                _add_carry(counts, carries, 0, bits)
            first: T.let = word % in_words * WORD
            for v in range(T.min(WORD, channels - first)):
                count = T.alloc_buffer((1,), "uint32")
                count[0] = T.uint32(0)
                for bit in T.unroll(bits):
                    at: T.let = T.shift_right(counts[bit], T.Cast("uint32", v)) & T.uint32(1)
                    count[0] = count[0] | T.shift_left(at, T.uint32(bit))
                y[first + v] = y[first + v] + T.Cast(
                    "int32", T.shift_left(count[0], T.Cast("uint32", word // in_words))
                )

    return sum_spikes
