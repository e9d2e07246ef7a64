"""DenseConv: the first layer, on 8-bit frames; inputs that are 0 are skipped."""

from __future__ import annotations

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.geometry import Geometry, accumulator_type, code_rows
from hqc.codegen.kernels.kernel_base import (
    ANY,
    Input,
    KernelCall,
    Output,
    Scratch,
    State,
    Stride,
    kernel,
)
from hqc.codegen.kernels.lanes import add_product, clear
from hqc.codegen.kernels.neurons import WORD, Neurons, fire
from hqc.codegen.kernels.unpack import unpack
from hqc.codegen.kernels.weights import StoredWeights

_BYTE = 255


@kernel("DenseConv")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a DenseConv."""
    time_steps, _, height, width = node.inputs[0].shape.numpy()
    g = Geometry.of(node, height, width, planes=1)
    rows, neurons = code_rows(node), Neurons.of(node)
    bits, scheme = (node.attributes[n].value for n in ("weight_bits", "weight_scheme"))
    stored = StoredWeights(rows, bits, scheme)
    accumulator = accumulator_type(rows, _BYTE)
    return KernelCall(
        lambda: _build(g, neurons, stored, accumulator, vector),
        (
            Input(0),
            Output(),
            *stored.constants(),
            *neurons.parameters(node, 2, g.channels, time_steps),
            Scratch(g.inputs * g.columns),
            State(g.columns * 4, g.out_height * g.out_width * g.columns * 4),
            Stride(g.columns),
        ),
        ("dense", g, neurons, bits, scheme, accumulator, vector),
    )


def _build(g: Geometry, neurons: Neurons, stored: StoredWeights, accumulator: str, vector: bool):
    lanes = g.block_words * WORD
    start, add_row = clear(lanes, accumulator, vector), add_product(lanes, accumulator, vector)
    fill, epilogue = unpack(stored, g.columns, vector), fire(neurons)
    kernel_height, kernel_width = g.kernel
    stride_y, stride_x = g.strides
    top, left = g.pads

    @T.prim_func(s_tir=True)
    def dense_conv(
        x_p: T.handle("uint8"),
        y_p: T.handle("uint32"),
        stored_p: T.handle("uint8"),
        offsets_p: T.handle("int8"),
        bias_p: T.handle("int32"),
        threshold_p: T.handle("int32"),
        reset_p: T.handle("int32"),
        codes_p: T.handle("int8"),
        u_p: T.handle("int32"),
        stride: T.int32,
        t_begin: T.int32,
        steps: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "uint8", data=x_p)
        y = T.decl_buffer((ANY,), "uint32", data=y_p)
        packed = T.decl_buffer((ANY,), "uint8", data=stored_p)
        offsets = T.decl_buffer((ANY,), "int8", data=offsets_p)
        bias = T.decl_buffer((ANY,), "int32", data=bias_p)
        threshold = T.decl_buffer((ANY,), "int32", data=threshold_p)
        reset = T.decl_buffer((ANY,), "int32", data=reset_p)
        codes = T.decl_buffer((ANY,), "int8", data=codes_p)
        u = T.decl_buffer((ANY,), "int32", data=u_p)
        fill(packed, offsets, codes)
        for oy in range(g.out_height):
            for ox in range(g.out_width):
                row: T.let = oy * g.out_width + ox
                if t_begin == 0:
                    for n in range(g.columns):
                        u[row * stride + n] = 0
                for s in range(steps):
                    for block in range(g.out_words // g.block_words):
                        acc = T.alloc_buffer((lanes,), accumulator)
                        start(acc)
                        for ky in range(kernel_height):
                            for kx in range(kernel_width):
                                iy: T.let = oy * stride_y - top + ky
                                ix: T.let = ox * stride_x - left + kx
                                if iy >= 0 and iy < g.height and ix >= 0 and ix < g.width:
                                    for c in range(g.in_channels):
                                        value: T.let = x[
                                            ((s * g.in_channels + c) * g.height + iy) * g.width + ix
                                        ]
                                        k: T.let = (ky * kernel_width + kx) * g.in_channels + c
                                        if value != T.uint8(0):
                                            add_row(
                                                acc, codes, k * g.columns + block * lanes, value
                                            )
                        for w in range(g.block_words):
                            word: T.let = block * g.block_words + w
                            epilogue(
                                acc,
                                w * WORD,
                                u,
                                row * stride + word * WORD,
                                bias,
                                threshold,
                                reset,
                                word * WORD,
                                y,
                                ((s * g.out_height + oy) * g.out_width + ox) * g.out_words + word,
                                t_begin + s,
                            )

    return dense_conv
