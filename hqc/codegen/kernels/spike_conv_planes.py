"""SpikeConv by bit planes: AND packed spikes with each plane of the weights, count the bits.

Cost follows the bit width, not the firing rate.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.conv_layer import Accumulation, Layer
from hqc.codegen.kernels.geometry import Geometry, code_rows, is_wide
from hqc.codegen.kernels.kernel_base import Constant
from hqc.codegen.kernels.neurons import WORD
from hqc.codegen.kernels.weights import StoredWeights
from hqc.dialect.planes import words
from hqc.errors import VerificationError

_WASTE = 1.05
"""Storage beyond the codes' own bits that a layer may take."""

_MOST_BITS = 7
"""Bits of a code whose counts, an int32 for each bit and output of a word, the stack holds."""


def suits_planes(node: ir.Node) -> bool:
    """Whether bit planes hold the node's weights without waste."""
    channels, in_channels = node.inputs[1].shape.numpy()[:2]
    bits, scheme = (node.attributes[n].value for n in ("weight_bits", "weight_scheme"))
    padded = words(channels) * words(in_channels) * WORD**2
    fields = bits == 2 or (scheme == "uniform" and bits <= _MOST_BITS)
    return fields and padded <= _WASTE * channels * in_channels


def plane_sums(node: ir.Node, vector: bool) -> Layer:
    """Sums of a convolution of packed spikes, by bit planes."""
    _, height, width, planes, _ = node.inputs[0].shape.numpy()
    g = Geometry.of(node, height, width, planes)
    stored, bits = StoredWeights.of(node, code_rows(node)), node.attributes["weight_bits"].value
    if not suits_planes(node):
        raise VerificationError(f"node {node.name!r}: bit planes cannot hold its weights")
    reach = g.inputs * (2**bits - 1) * (2**planes - 1)
    accumulator = "int64" if is_wide(node) or reach >= 2**31 else "int32"
    offsets = np.zeros(g.columns, np.int32)
    offsets[: stored.columns] = stored.offsets()

    sums = Accumulation(
        image="uint32",
        weights=(
            Constant(_weight_planes(stored, g, bits), is_weights=True),
            Constant(offsets),
        ),
        accumulator=accumulator,
        block_words=1,
        codes_size=0,
        events_size=0,
        event="uint16",
        add=_add_counts(g, bits, accumulator, vector),
    )
    return g, sums, ("planes", bits, accumulator)


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


def _add_counts(g: Geometry, bits: int, accumulator: str, vector: bool):
    """A TIR macro: sum over planes of the input and of the fields, and offset times spikes."""
    each = T.vectorized if vector else T.serial
    kernel_height, kernel_width = g.kernel
    stride_y, stride_x = g.strides
    top, left = g.pads
    taps = kernel_height * kernel_width

    @T.macro
    def add_counts(x, weights, offsets, codes, events, counts, acc, s, oy, ox, first):
        for plane in T.unroll(g.planes):
            found = T.alloc_buffer((bits * WORD,), "uint32")
            spikes = T.alloc_buffer((1,), "uint32")
            spikes[0] = T.uint32(0)
            for b in T.unroll(bits):
                for v in each(WORD):
                    found[b * WORD + v] = T.uint32(0)
            for tap in range(taps):
                iy: T.let = oy * stride_y - top + tap // kernel_width
                ix: T.let = ox * stride_x - left + tap % kernel_width
                if iy >= 0 and iy < g.height and ix >= 0 and ix < g.width:
                    row: T.let = ((s * g.height + iy) * g.width + ix) * g.planes + plane
                    for w in range(g.in_words):
                        word: T.let = x[row * g.in_words + w]
                        at: T.let = (first // WORD * taps + tap) * g.in_words + w
                        spikes[0] = spikes[0] + T.popcount(word)
                        for b in T.unroll(bits):
                            for v in each(WORD):
                                found[b * WORD + v] = found[b * WORD + v] + T.popcount(
                                    word & weights[(at * bits + b) * WORD + v]
                                )
            for b in T.unroll(bits):
                for v in each(WORD):
                    acc[v] = acc[v] + T.shift_left(
                        T.Cast(accumulator, found[b * WORD + v]), T.Cast(accumulator, b + plane)
                    )
            for v in each(WORD):
                acc[v] = acc[v] + T.shift_left(
                    T.Cast(accumulator, spikes[0]) * T.Cast(accumulator, offsets[first + v]),
                    T.Cast(accumulator, plane),
                )

    return add_counts
