"""SpikeConv by bit planes: AND packed spikes with each plane of the weights, count the bits.

Cost follows the bit width, not the firing rate.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.geometry import Geometry, code_rows
from hqc.codegen.kernels.kernel_base import (
    ANY,
    Constant,
    Input,
    KernelCall,
    Output,
    State,
    Stride,
)
from hqc.codegen.kernels.neurons import WORD, Neurons, fire
from hqc.codegen.kernels.weights import StoredWeights
from hqc.dialect.planes import words

_WASTE = 1.05
"""Storage beyond the codes' own bits that a layer may take."""


def suits_planes(node: ir.Node) -> bool:
    """Whether bit planes hold the node's weights without waste."""
    channels, in_channels = node.inputs[1].shape.numpy()[:2]
    bits, scheme = (node.attributes[n].value for n in ("weight_bits", "weight_scheme"))
    padded = words(channels) * words(in_channels) * WORD**2
    return (scheme == "uniform" or bits == 2) and padded <= _WASTE * channels * in_channels


def emit_planes(node: ir.Node, vector: bool) -> KernelCall:
    """The bit-plane kernel of a SpikeConv."""
    time_steps, height, width, planes, _ = node.inputs[0].shape.numpy()
    g = Geometry.of(node, height, width, planes)
    neurons, bits = Neurons.of(node), node.attributes["weight_bits"].value
    stored = StoredWeights(code_rows(node), bits, "uniform")
    offsets = np.zeros(g.columns, np.int32)
    offsets[: stored.columns] = stored.offsets()
    return KernelCall(
        lambda: _build(g, neurons, bits, vector),
        (
            Input(0),
            Output(),
            Constant(_weight_planes(stored, g, bits), is_weights=True),
            Constant(offsets),
            *neurons.parameters(node, 2, g.channels, time_steps),
            State(g.columns * 4, g.out_height * g.out_width * g.columns * 4),
            Stride(g.columns),
        ),
        ("planes", g, neurons, bits, vector),
    )


def _weight_planes(stored: StoredWeights, g: Geometry, bits: int) -> np.ndarray:
    """uint32 [out words, taps, input words, bits, 32]: bit i of a word is input i of the word."""
    taps = g.kernel[0] * g.kernel[1]
    fields = np.zeros((taps, g.in_words * WORD, g.columns), np.uint8)
    shape = (taps, g.in_channels, stored.columns)
    fields[:, : g.in_channels, : stored.columns] = stored.fields().reshape(shape)
    fields = fields.reshape(taps, g.in_words, WORD, g.out_words, WORD)
    bit = (fields[..., None] >> np.arange(bits, dtype=np.uint8)) & 1
    octets = np.packbits(bit.transpose(3, 0, 1, 5, 4, 2), axis=-1, bitorder="little")
    return np.ascontiguousarray(octets).view("<u4")[..., 0]


def _build(g: Geometry, neurons: Neurons, bits: int, vector: bool):
    each = T.vectorized if vector else T.serial
    epilogue = fire(neurons)
    kernel_height, kernel_width = g.kernel
    stride_y, stride_x = g.strides
    top, left = g.pads
    taps = kernel_height * kernel_width

    @T.prim_func(s_tir=True)
    def spike_conv_planes(
        x_p: T.handle("uint32"),
        y_p: T.handle("uint32"),
        planes_p: T.handle("uint32"),
        offsets_p: T.handle("int32"),
        bias_p: T.handle("int32"),
        threshold_p: T.handle("int32"),
        reset_p: T.handle("int32"),
        u_p: T.handle("int32"),
        stride: T.int32,
        t_begin: T.int32,
        steps: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "uint32", data=x_p)
        y = T.decl_buffer((ANY,), "uint32", data=y_p)
        planes = T.decl_buffer((ANY,), "uint32", data=planes_p)
        offsets = T.decl_buffer((ANY,), "int32", data=offsets_p)
        bias = T.decl_buffer((ANY,), "int32", data=bias_p)
        threshold = T.decl_buffer((ANY,), "int32", data=threshold_p)
        reset = T.decl_buffer((ANY,), "int32", data=reset_p)
        u = T.decl_buffer((ANY,), "int32", data=u_p)
        for oy in range(g.out_height):
            for ox in range(g.out_width):
                row: T.let = oy * g.out_width + ox
                if t_begin == 0:
                    for n in range(g.columns):
                        u[row * stride + n] = 0
                for s in range(steps):
                    for out_word in range(g.out_words):
                        acc = T.alloc_buffer((WORD,), "int32")
                        for v in each(WORD):
                            acc[v] = 0
                        for p in T.unroll(g.planes):
                            sums = T.alloc_buffer((bits * WORD,), "uint32")
                            spikes = T.alloc_buffer((1,), "uint32")
                            spikes[0] = T.uint32(0)
                            for b in T.unroll(bits):
                                for v in each(WORD):
                                    sums[b * WORD + v] = T.uint32(0)
                            for tap in range(taps):
                                iy: T.let = oy * stride_y - top + tap // kernel_width
                                ix: T.let = ox * stride_x - left + tap % kernel_width
                                if iy >= 0 and iy < g.height and ix >= 0 and ix < g.width:
                                    for w in range(g.in_words):
                                        word: T.let = x[
                                            (((s * g.height + iy) * g.width + ix) * g.planes + p)
                                            * g.in_words
                                            + w
                                        ]
                                        spikes[0] = spikes[0] + T.popcount(word)
                                        at: T.let = (out_word * taps + tap) * g.in_words + w
                                        for b in T.unroll(bits):
                                            for v in each(WORD):
                                                sums[b * WORD + v] = sums[
                                                    b * WORD + v
                                                ] + T.popcount(
                                                    word & planes[(at * bits + b) * WORD + v]
                                                )
                            for b in T.unroll(bits):
                                for v in each(WORD):
                                    acc[v] = acc[v] + T.shift_left(
                                        T.Cast("int32", sums[b * WORD + v]), b + p
                                    )
                            for v in each(WORD):
                                acc[v] = acc[v] + T.shift_left(
                                    T.Cast("int32", spikes[0]) * offsets[out_word * WORD + v], p
                                )
                        epilogue(
                            acc,
                            0,
                            u,
                            row * stride + out_word * WORD,
                            bias,
                            threshold,
                            reset,
                            out_word * WORD,
                            y,
                            ((s * g.out_height + oy) * g.out_width + ox) * g.out_words + out_word,
                            t_begin + s,
                        )

    return spike_conv_planes
