"""PadPotentials and AddPositions: a border around potentials, and numbers by position."""

from __future__ import annotations

import math

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import ANY, Constant, Input, KernelCall, Output, kernel
from hqc.codegen.kernels.neurons import WORD


@kernel("PadPotentials")
def emit_pad(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a PadPotentials."""
    _, height, width, columns = node.inputs[0].shape.numpy()
    pads = tuple(node.attributes["pads"].value)
    return KernelCall(
        lambda: _build_pad(height, width, columns, *pads),
        (Input(0), Output()),
        ("pad potentials", height, width, columns, pads),
    )


@kernel("AddPositions")
def emit_add(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of an AddPositions."""
    numbers = node.inputs[1].const_value.numpy()
    size = math.prod(numbers.shape)
    return KernelCall(
        lambda: _build_add(size), (Input(0), Output(), Constant(numbers)), ("add positions", size)
    )


def _build_pad(height: int, width: int, columns: int, top: int, left: int, bottom: int, right: int):
    tall, wide, in_words = top + height + bottom, left + width + right, columns // WORD

    @T.prim_func(s_tir=True)
    def pad_potentials(
        x_p: T.handle("int32"), y_p: T.handle("int32"), t_begin: T.int32, steps: T.int32
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "int32", data=x_p)
        y = T.decl_buffer((ANY,), "int32", data=y_p)
        for word in range(steps * tall * wide * in_words):
            for v in T.vectorized(WORD):
                y[word * WORD + v] = 0
        for s in range(steps):
            for row in range(height):
                for word in range(width * in_words):
                    at: T.let = ((s * tall + top + row) * wide + left) * columns
                    of: T.let = (s * height + row) * width * columns
                    for v in T.vectorized(WORD):
                        y[at + word * WORD + v] = x[of + word * WORD + v]

    return pad_potentials


def _build_add(size: int):
    @T.prim_func(s_tir=True)
    def add_positions(
        x_p: T.handle("int32"),
        y_p: T.handle("int32"),
        numbers_p: T.handle("int32"),
        t_begin: T.int32,
        steps: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "int32", data=x_p)
        y = T.decl_buffer((ANY,), "int32", data=y_p)
        numbers = T.decl_buffer((ANY,), "int32", data=numbers_p)
        for s in range(steps):
            for word in range(size // WORD):
                for v in T.vectorized(WORD):
                    y[s * size + word * WORD + v] = (
                        x[s * size + word * WORD + v] + numbers[word * WORD + v]
                    )

    return add_positions
