"""AddPotentials: a membrane shortcut."""

from __future__ import annotations

import math

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import ANY, Input, KernelCall, Output, kernel
from hqc.codegen.kernels.neurons import WORD


@kernel("AddPotentials")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of an AddPotentials."""
    size = math.prod(node.outputs[0].shape.numpy()[1:])
    return KernelCall(
        lambda: _build(size), (Input(0), Input(1), Output()), ("add potentials", size)
    )


def _build(size: int):
    @T.prim_func(s_tir=True)
    def add_potentials(
        a_p: T.handle("int32"),
        b_p: T.handle("int32"),
        y_p: T.handle("int32"),
        t_begin: T.int32,
        steps: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        a = T.decl_buffer((ANY,), "int32", data=a_p)
        b = T.decl_buffer((ANY,), "int32", data=b_p)
        y = T.decl_buffer((ANY,), "int32", data=y_p)
        for row in range(steps * (size // WORD)):
            for v in T.vectorized(WORD):
                y[row * WORD + v] = a[row * WORD + v] + b[row * WORD + v]

    return add_potentials
