"""SpikesAsPotentials: packed small integers, unpacked."""

from __future__ import annotations

import math
from functools import reduce
from operator import add

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import ANY, Input, KernelCall, Output, kernel
from hqc.codegen.kernels.neurons import WORD


@kernel("SpikesAsPotentials")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a SpikesAsPotentials."""
    _, *position, planes, in_words = node.inputs[0].shape.numpy()
    positions = math.prod(position)
    return KernelCall(
        lambda: _build(positions, planes, in_words),
        (Input(0), Output()),
        ("unpack", positions, planes, in_words),
    )


def plane_bit(x, row, in_words: int, p, lane):
    """2^p where bit `lane` of plane p is set, else 0: int32. The planes are x[row + p in_words]."""
    bit = T.shift_right(x[row + p * in_words], T.Cast("uint32", lane)) & T.uint32(1)
    return T.Cast("int32", T.shift_left(bit, T.uint32(p)))


def small_integer(x, row, in_words: int, planes: int, lane):
    """The integer of all its planes: int32."""
    return reduce(add, (plane_bit(x, row, in_words, p, lane) for p in range(planes)))


def unpacked(planes: int):
    """A TIR macro: y[at ..] += the 32 integers whose planes are x[row], x[row + in_words] ..."""

    @T.macro
    def body(x, row, in_words, y, at):
        for p in T.unroll(planes):
            for v in T.vectorized(WORD):
                y[at + v] = y[at + v] + plane_bit(x, row, in_words, p, v)

    return body


def _build(positions: int, planes: int, in_words: int):
    add_integers = unpacked(planes)

    @T.prim_func(s_tir=True)
    def spikes_as_potentials(
        x_p: T.handle("uint32"), y_p: T.handle("int32"), t_begin: T.int32, steps: T.int32
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "uint32", data=x_p)
        y = T.decl_buffer((ANY,), "int32", data=y_p)
        for row in range(steps * positions):
            for w in range(in_words):
                at: T.let = (row * in_words + w) * WORD
                for v in T.vectorized(WORD):
                    y[at + v] = 0
                add_integers(x, row * planes * in_words + w, in_words, y, at)

    return spikes_as_potentials
