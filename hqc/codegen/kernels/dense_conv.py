"""DenseConv: the first layer, on 8-bit frames; inputs that are 0 are skipped."""

from __future__ import annotations

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.conv_layer import Accumulation, Layer, conv_layer
from hqc.codegen.kernels.conv_potentials import conv_potentials
from hqc.codegen.kernels.geometry import Geometry, accumulator_type, code_rows, is_wide
from hqc.codegen.kernels.kernel_base import KernelCall, kernel
from hqc.codegen.kernels.lanes import add_product
from hqc.codegen.kernels.neurons import WORD
from hqc.codegen.kernels.unpack import codes_of
from hqc.codegen.kernels.weights import StoredWeights

_LARGEST = {"uint8": 255, "int8": 128}


@kernel("DenseConv")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a DenseConv."""
    return conv_layer(node, frame_sums(node, vector), vector)


@kernel("FrameConvPotentials")
def emit_potentials(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a FrameConvPotentials."""
    return conv_potentials(node, frame_sums(node, vector), vector)


def frame_sums(node: ir.Node, vector: bool) -> Layer:
    """Sums of a convolution of 8-bit frames."""
    _, _, height, width = node.inputs[0].shape.numpy()
    g = Geometry.of(node, height, width, planes=1)
    stored = StoredWeights.of(node, code_rows(node))
    image = node.inputs[0].dtype.name.lower()
    accumulator = accumulator_type(stored.codes, _LARGEST[image], is_wide(node))

    sums = Accumulation(
        image=image,
        accumulator=accumulator,
        block_words=g.block_words(accumulator),
        code=stored.code,
        events_size=0,
        event="uint16",
        **codes_of(stored, g.columns, _add_products(g, accumulator, vector), vector),
    )
    return g, sums, ("dense", image, stored.form, accumulator)


def _add_products(g: Geometry, accumulator: str, vector: bool):
    add_row = add_product(g.block_words(accumulator) * WORD, accumulator, vector)
    kernel_height, kernel_width = g.kernel
    stride_y, stride_x = g.strides
    top, left = g.pads

    @T.macro
    def add_products(x, weights, offsets, codes, events, ends, acc, s, oy, ox, first):
        for ky in range(kernel_height):
            for kx in range(kernel_width):
                iy: T.let = oy * stride_y - top + ky
                ix: T.let = ox * stride_x - left + kx
                if iy >= 0 and iy < g.height and ix >= 0 and ix < g.width:
                    for c in range(g.in_channels):
                        value: T.let = x[((s * g.in_channels + c) * g.height + iy) * g.width + ix]
                        k: T.let = (ky * kernel_width + kx) * g.in_channels + c
                        if value != 0:
                            add_row(acc, codes, k * g.columns + first, value)

    return add_products
