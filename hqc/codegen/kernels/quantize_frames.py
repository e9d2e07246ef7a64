"""QuantizeFrames: float frames to bytes, without a rounding function of libm."""

from __future__ import annotations

import math

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import ANY, Constant, Input, KernelCall, Output, kernel


@kernel("QuantizeFrames")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a QuantizeFrames."""
    elements = math.prod(node.outputs[0].shape.numpy()[1:])
    qmax = node.attributes["qmax"].value
    scale = node.inputs[1].const_value.numpy()
    return KernelCall(
        lambda: _build(elements, qmax),
        (Input(0), Output(), Constant(scale.reshape(-1))),
        ("quantize", elements, qmax),
    )


def _build(elements: int, qmax: int):
    @T.prim_func(s_tir=True)
    def quantize_frames(
        x_p: T.handle("float32"),
        y_p: T.handle("uint8"),
        scale_p: T.handle("float32"),
        t_begin: T.int32,
        steps: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "float32", data=x_p)
        y = T.decl_buffer((ANY,), "uint8", data=y_p)
        scale = T.decl_buffer((ANY,), "float32", data=scale_p)
        for i in range(steps * elements):
            # Clipped first, so that the truncation below is exact; not-a-number becomes 0.
            ratio: T.let = x[i] / scale[0]
            raised: T.let = T.Select(ratio > T.float32(0), ratio, T.float32(0))
            clipped: T.let = T.Select(raised < T.float32(qmax), raised, T.float32(qmax))
            whole: T.let = T.Cast("int32", clipped)
            rest: T.let = clipped - T.Cast("float32", whole)
            odd: T.let = whole & 1
            up: T.let = T.Select(rest > T.float32(0.5), 1, T.Select(rest == T.float32(0.5), odd, 0))
            y[i] = T.Cast("uint8", whole + up)

    return quantize_frames
