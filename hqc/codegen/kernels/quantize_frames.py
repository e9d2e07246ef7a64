"""QuantizeFrames: float frames to bytes, without a rounding function of libm."""

from __future__ import annotations

import math

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import ANY, Constant, Input, KernelCall, Output, kernel
from hqc.dialect import find_op


@kernel("QuantizeFrames")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a QuantizeFrames."""
    elements = math.prod(node.outputs[0].shape.numpy()[1:])
    attributes = find_op(node).attributes(node)
    form = node.outputs[0].dtype.name.lower(), attributes["qmin"], attributes["qmax"]
    scale = node.inputs[1].const_value.numpy()
    return KernelCall(
        lambda: _build(elements, *form),
        (Input(0), Output(), Constant(scale.reshape(-1))),
        ("quantize", elements, *form),
    )


_UNIT_IS_ONE = 1.5 * 2**23
"""A float32 whose last bit is worth 1, and stays so with any byte added; its low byte is 0."""


def _build(elements: int, byte: str, qmin: int, qmax: int):
    @T.prim_func(s_tir=True)
    def quantize_frames(
        x_p: T.handle("float32"),
        y_p: T.handle(byte),
        scale_p: T.handle("float32"),
        t_begin: T.int32,
        steps: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "float32", data=x_p)
        y = T.decl_buffer((ANY,), byte, data=y_p)
        scale = T.decl_buffer((ANY,), "float32", data=scale_p)
        for i in range(steps * elements):
            # Clipped first, so that every number is small; not-a-number becomes qmin. The sum's
            # unit is 1, so that adding rounds to nearest even, and its lowest bits are the code.
            ratio: T.let = x[i] / scale[0]
            raised: T.let = T.Select(ratio > T.float32(qmin), ratio, T.float32(qmin))
            clipped: T.let = T.Select(raised < T.float32(qmax), raised, T.float32(qmax))
            y[i] = T.Cast(byte, T.reinterpret("int32", clipped + T.float32(_UNIT_IS_ONE)))

    return quantize_frames
