"""ReluPotentials: what of potentials is above 0."""

from __future__ import annotations

import math

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import ANY, Input, KernelCall, Output, kernel
from hqc.codegen.kernels.neurons import WORD


@kernel("ReluPotentials")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a ReluPotentials."""
    size = math.prod(node.inputs[0].shape.numpy()[1:])
    return KernelCall(lambda: _build(size), (Input(0), Output()), ("relu potentials", size))


def _build(size: int):
    @T.prim_func(s_tir=True)
    def relu_potentials(
        x_p: T.handle("int32"), y_p: T.handle("int32"), t_begin: T.int32, steps: T.int32
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "int32", data=x_p)
        y = T.decl_buffer((ANY,), "int32", data=y_p)
        for word in range(steps * (size // WORD)):
            for v in T.vectorized(WORD):
                y[word * WORD + v] = T.max(x[word * WORD + v], 0)

    return relu_potentials
