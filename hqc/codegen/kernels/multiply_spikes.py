"""MultiplySpikes, which counts what two rows share; MultiplyPotentials, which adds by spikes."""

from __future__ import annotations

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import ANY, Input, KernelCall, Output, kernel
from hqc.codegen.kernels.neurons import WORD


@kernel("MultiplySpikes")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a MultiplySpikes."""
    _, batch, rows, a_planes, in_words = node.inputs[0].shape.numpy()
    _, _, columns, b_planes, _ = node.inputs[1].shape.numpy()
    sizes = batch, rows, columns, a_planes, b_planes, in_words
    return KernelCall(
        lambda: _build(*sizes), (Input(0), Input(1), Output()), ("multiply spikes", *sizes)
    )


@kernel("MultiplyPotentials")
def emit_potentials(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a MultiplyPotentials."""
    _, _, rows, _ = node.inputs[0].shape.numpy()
    _, batch, columns, planes, in_words = node.inputs[1].shape.numpy()
    channels = node.attributes["channels"].value
    sizes = batch, rows, columns, planes, in_words, channels
    return KernelCall(
        lambda: _build_potentials(*sizes),
        (Input(0), Input(1), Output()),
        ("multiply potentials", *sizes),
    )


def _build(batch: int, rows: int, columns: int, a_planes: int, b_planes: int, in_words: int):
    made = -(-columns // WORD) * WORD

    @T.prim_func(s_tir=True)
    def multiply_spikes(
        a_p: T.handle("uint32"),
        b_p: T.handle("uint32"),
        y_p: T.handle("int32"),
        t_begin: T.int32,
        steps: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        a = T.decl_buffer((ANY,), "uint32", data=a_p)
        b = T.decl_buffer((ANY,), "uint32", data=b_p)
        y = T.decl_buffer((ANY,), "int32", data=y_p)
        for row in range(steps * batch * rows):
            for c in range(made):
                y[row * made + c] = 0
            for c in range(columns):
                for p in range(a_planes):
                    for q in range(b_planes):
                        for w in range(in_words):
                            left: T.let = a[(row * a_planes + p) * in_words + w]
                            right: T.let = b[
                                ((row // rows * columns + c) * b_planes + q) * in_words + w
                            ]
                            y[row * made + c] = y[row * made + c] + T.shift_left(
                                T.Cast("int32", T.popcount(left & right)), p + q
                            )

    return multiply_spikes


def _build_potentials(
    batch: int, rows: int, columns: int, planes: int, in_words: int, channels: int
):
    made = -(-columns // WORD) * WORD

    @T.prim_func(s_tir=True)
    def multiply_potentials(
        a_p: T.handle("int32"),
        b_p: T.handle("uint32"),
        y_p: T.handle("int32"),
        t_begin: T.int32,
        steps: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        a = T.decl_buffer((ANY,), "int32", data=a_p)
        b = T.decl_buffer((ANY,), "uint32", data=b_p)
        y = T.decl_buffer((ANY,), "int32", data=y_p)
        for row in range(steps * batch * rows):
            for c in range(made):
                y[row * made + c] = 0
            for c in range(columns):
                other: T.let = (row // rows * columns + c) * planes * in_words
                for k in range(channels):
                    for p in T.unroll(planes):
                        bit: T.let = T.shift_right(
                            b[other + p * in_words + k // WORD], T.Cast("uint32", k % WORD)
                        ) & T.uint32(1)
                        y[row * made + c] = y[row * made + c] + a[
                            row * in_words * WORD + k
                        ] * T.Cast("int32", T.shift_left(bit, T.uint32(p)))

    return multiply_potentials
