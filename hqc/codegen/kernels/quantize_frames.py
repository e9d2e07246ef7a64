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


def _build(elements: int, byte: str, qmin: int, qmax: int):
    # The bound, which nothing exceeds, keeps LLVM from converting floats to less than 32 bits at
    # once: on RVV that is an instruction on which QEMU 7.2 ends.
    most = max(-qmin, qmax)

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
            # Clipped first, so that the truncation below is exact; not-a-number becomes qmin.
            ratio: T.let = x[i] / scale[0]
            raised: T.let = T.Select(ratio > T.float32(qmin), ratio, T.float32(qmin))
            clipped: T.let = T.Select(raised < T.float32(qmax), raised, T.float32(qmax))
            size: T.let = T.Select(clipped < T.float32(0), T.float32(0) - clipped, clipped)
            whole: T.let = T.min(T.Cast("int32", size), most)
            rest: T.let = size - T.Cast("float32", whole)
            odd: T.let = whole & 1
            up: T.let = T.Select(rest > T.float32(0.5), 1, T.Select(rest == T.float32(0.5), odd, 0))
            code: T.let = T.Select(clipped < T.float32(0), 0 - whole - up, whole + up)
            y[i] = T.Cast(byte, code)

    return quantize_frames
