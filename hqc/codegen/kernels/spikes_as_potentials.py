"""SpikesAsPotentials: packed small integers, unpacked."""

from __future__ import annotations

import math

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


def unpacked(planes: int):
    """A TIR macro: y[at ..] += the 32 integers whose planes are x[row], x[row + in_words] ..."""

    @T.macro
    def body(x, row, in_words, y, at):
        for p in T.unroll(planes):
            for v in T.vectorized(WORD):
                y[at + v] = y[at + v] + T.Cast(
                    "int32",
                    T.shift_left(
                        T.shift_right(x[row + p * in_words], T.Cast("uint32", v)) & T.uint32(1),
                        T.uint32(p),
                    ),
                )

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
