"""PoolPotentials: the largest potential of a window."""

from __future__ import annotations

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import ANY, Input, KernelCall, Output, kernel
from hqc.codegen.kernels.neurons import WORD

_LEAST = -(2**31)


@kernel("PoolPotentials")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a PoolPotentials."""
    shape = node.inputs[0].shape.numpy()[1:], node.outputs[0].shape.numpy()[1:]
    window = tuple(
        tuple(node.attributes[name].value[:2]) for name in ("kernel_shape", "strides", "pads")
    )
    return KernelCall(
        lambda: _build(*shape, *window), (Input(0), Output()), ("pool potentials", *shape, *window)
    )


def _build(in_shape, out_shape, kernel_shape, strides, pads):
    height, width, columns = in_shape
    out_height, out_width = out_shape[:2]
    kernel_height, kernel_width = kernel_shape
    stride_y, stride_x = strides
    top, left = pads

    @T.prim_func(s_tir=True)
    def pool_potentials(
        x_p: T.handle("int32"), y_p: T.handle("int32"), t_begin: T.int32, steps: T.int32
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "int32", data=x_p)
        y = T.decl_buffer((ANY,), "int32", data=y_p)
        for s in range(steps):
            for oy in range(out_height):
                for ox in range(out_width):
                    out: T.let = ((s * out_height + oy) * out_width + ox) * columns
                    for w in range(columns // WORD):
                        for v in T.vectorized(WORD):
                            y[out + w * WORD + v] = T.int32(_LEAST)
                    for ky in range(kernel_height):
                        for kx in range(kernel_width):
                            iy: T.let = oy * stride_y - top + ky
                            ix: T.let = ox * stride_x - left + kx
                            if iy >= 0 and iy < height and ix >= 0 and ix < width:
                                seen: T.let = ((s * height + iy) * width + ix) * columns
                                for w in range(columns // WORD):
                                    for v in T.vectorized(WORD):
                                        y[out + w * WORD + v] = T.max(
                                            y[out + w * WORD + v], x[seen + w * WORD + v]
                                        )

    return pool_potentials
