"""PackedPool: the OR of a window's words."""

from __future__ import annotations

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import ANY, Input, KernelCall, Output, kernel
from hqc.codegen.kernels.rows import Rows


@kernel("PackedPool")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a PackedPool."""
    shape = node.inputs[0].shape.numpy()[1:], node.outputs[0].shape.numpy()[1:]
    window = tuple(
        tuple(node.attributes[name].value[:2]) for name in ("kernel_shape", "strides", "pads")
    )
    return KernelCall(
        lambda: _build(*shape, *window),
        (Input(0), Output()),
        ("pool", *shape, *window),
        Rows(shape[1][0]).count,
    )


def _build(in_shape, out_shape, kernel_shape, strides, pads):
    height, width, _, in_words = in_shape
    out_height, out_width = out_shape[:2]
    kernel_height, kernel_width = kernel_shape
    stride_y, stride_x = strides
    top, left = pads
    rows = Rows(out_height)

    @T.prim_func(s_tir=True)
    def packed_pool(
        x_p: T.handle("uint32"),
        y_p: T.handle("uint32"),
        t_begin: T.int32,
        steps: T.int32,
        part: T.int32,
        parts: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "uint32", data=x_p)
        y = T.decl_buffer((ANY,), "uint32", data=y_p)
        for s in range(steps):
            for oy in range(out_height):
                for ox in range(T.Select(rows.has(oy, part, parts), out_width, 0)):
                    for w in range(in_words):
                        word = T.alloc_buffer((1,), "uint32")
                        word[0] = T.uint32(0)
                        for ky in range(kernel_height):
                            for kx in range(kernel_width):
                                iy: T.let = oy * stride_y - top + ky
                                ix: T.let = ox * stride_x - left + kx
                                if iy >= 0 and iy < height and ix >= 0 and ix < width:
                                    word[0] = (
                                        word[0] | x[((s * height + iy) * width + ix) * in_words + w]
                                    )
                        y[((s * out_height + oy) * out_width + ox) * in_words + w] = word[0]

    return packed_pool
