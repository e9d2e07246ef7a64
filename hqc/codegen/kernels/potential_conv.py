"""PotentialConv and DepthwiseConv: convolutions of potentials, by multiplications."""

from __future__ import annotations

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.conv_layer import Accumulation, Layer
from hqc.codegen.kernels.conv_potentials import conv_potentials
from hqc.codegen.kernels.geometry import Geometry, code_rows, is_wide
from hqc.codegen.kernels.kernel_base import KernelCall, kernel
from hqc.codegen.kernels.lanes import add_product, vector_width
from hqc.codegen.kernels.pointwise_potentials import pointwise_potentials
from hqc.codegen.kernels.unpack import codes_of
from hqc.codegen.kernels.weights import StoredWeights


@kernel("PotentialConv")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a PotentialConv."""
    _, height, width, _ = node.inputs[0].shape.numpy()
    g = Geometry.of(node, height, width, planes=1)
    if g.is_pointwise:
        return pointwise_potentials(node, g, vector)
    return conv_potentials(node, _layer(node, vector, _add_products), vector)


@kernel("DepthwiseConv")
def emit_depthwise(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a DepthwiseConv."""
    return conv_potentials(node, _layer(node, vector, _add_own), vector)


def _layer(node: ir.Node, vector: bool, add) -> Layer:
    _, height, width, in_columns = node.inputs[0].shape.numpy()
    g = Geometry.of(node, height, width, planes=1)
    stored = StoredWeights.of(node, code_rows(node))
    accumulator = "int64" if is_wide(node) else "int32"
    sums = Accumulation(
        image="int32",
        accumulator=accumulator,
        block_words=g.block_words(accumulator),
        events_size=0,
        event="uint16",
        **codes_of(stored, g.columns, add(g, in_columns, accumulator, vector), vector),
    )
    return g, sums, (add.__name__, stored.form, accumulator, in_columns)


def _add_products(g: Geometry, in_columns: int, accumulator: str, vector: bool):
    """A TIR macro: the product of every input of a position with its row of codes."""
    lanes = g.block_lanes(accumulator)
    add_row = add_product(lanes, accumulator, vector)
    kernel_height, kernel_width = g.kernel
    stride_y, stride_x = g.strides
    top, left = g.pads

    @T.macro
    def add_products(x, weights, offsets, codes, events, counts, acc, s, oy, ox, first):
        for ky in range(kernel_height):
            for kx in range(kernel_width):
                iy: T.let = oy * stride_y - top + ky
                ix: T.let = ox * stride_x - left + kx
                if iy >= 0 and iy < g.height and ix >= 0 and ix < g.width:
                    for c in range(g.in_channels):
                        value: T.let = x[((s * g.height + iy) * g.width + ix) * in_columns + c]
                        k: T.let = (ky * kernel_width + kx) * g.in_channels + c
                        add_row(acc, 0, codes, k * g.columns + first, value)

    return add_products


def _add_own(g: Geometry, in_columns: int, accumulator: str, vector: bool):
    """A TIR macro: the product of every channel's inputs with its own codes."""
    lanes = g.block_lanes(accumulator)
    each, width_ = T.vectorized if vector else T.serial, vector_width(lanes)
    kernel_height, kernel_width = g.kernel
    stride_y, stride_x = g.strides
    top, left = g.pads

    @T.macro
    def add_own(x, weights, offsets, codes, events, counts, acc, s, oy, ox, first):
        for ky in range(kernel_height):
            for kx in range(kernel_width):
                iy: T.let = oy * stride_y - top + ky
                ix: T.let = ox * stride_x - left + kx
                if iy >= 0 and iy < g.height and ix >= 0 and ix < g.width:
                    row: T.let = ((s * g.height + iy) * g.width + ix) * in_columns + first
                    at: T.let = (ky * kernel_width + kx) * g.columns + first
                    for i in T.unroll(lanes // width_):
                        for v in each(width_):
                            acc[i * width_ + v] = acc[i * width_ + v] + T.Cast(
                                accumulator, x[row + i * width_ + v]
                            ) * T.Cast(accumulator, codes[at + i * width_ + v])

    return add_own
