"""DenseConv: the first layer, on 8-bit frames, with or without the inputs that are 0."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.conv_layer import Accumulation, Layer, conv_layer
from hqc.codegen.kernels.conv_potentials import conv_potentials
from hqc.codegen.kernels.geometry import (
    Geometry,
    accumulator_type,
    code_rows,
    is_wide,
    narrowest,
)
from hqc.codegen.kernels.kernel_base import KernelCall, kernel
from hqc.codegen.kernels.lanes import add, add_product, clear
from hqc.codegen.kernels.neurons import WORD
from hqc.codegen.kernels.unpack import codes_of
from hqc.codegen.kernels.weights import StoredWeights

_SUMS = 4
"""Sums that registers hold, without vectors."""

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

    product = _LARGEST[image] * int(np.abs(stored.codes).max(initial=1))
    lane, rows = narrowest(product, accumulator) if vector else (accumulator, 0)
    skips = node.attributes["kernel"].value == "sparse" if "kernel" in node.attributes else True
    add_products = (
        _add_products(g, lane, accumulator, rows, skips)
        if vector
        else _add_listed(g, image, accumulator, skips)
    )
    sums = Accumulation(
        image=image,
        accumulator=accumulator,
        block_words=g.block_words(accumulator),
        repeats=True,
        events_size=node.inputs[0].shape.numpy()[0],
        event="uint8",
        **codes_of(
            stored,
            g.columns,
            add_products,
            vector,
            code=lane if rows else None,
        ),
    )
    return g, sums, ("dense", image, stored.form, accumulator, lane, rows, skips)


def _add_products(g: Geometry, lane: str, accumulator: str, rows: int, skips: bool):
    """A TIR macro: add the products of all inputs, in narrow lanes that hold so many `rows`.

    They are widened after each row of the kernel, each tap, or some of a tap's channels: after as
    many inputs as they hold. With 0 rows, nothing is narrower than the accumulator.
    """
    lanes = g.block_lanes(accumulator)
    add_row, widen = add_product(lanes, lane, vector=True), add(lanes, accumulator, vector=True)
    start = clear(lanes, lane, vector=True)
    kernel_height, kernel_width = g.kernel
    stride_y, stride_x = g.strides
    top, left = g.pads

    in_one = kernel_width * g.in_channels <= rows
    at_once = min(rows, g.in_channels) if rows else g.in_channels

    @T.macro
    def add_pixel(x, codes, sums, s, iy, ix, tap, first, begin, end):
        for c in range(end - begin):
            value: T.let = T.Cast(
                lane, x[((s * g.in_channels + begin + c) * g.height + iy) * g.width + ix]
            )
            k: T.let = tap * g.in_channels + begin + c
            if skips:
                if value != T.Cast(lane, 0):
                    add_row(sums, codes, k * g.columns + first, value)
            else:
                add_row(sums, codes, k * g.columns + first, value)

    @T.macro
    def add_products(x, weights, offsets, codes, events, counts, acc, s, oy, ox, first):
        for ky in range(kernel_height):
            iy: T.let = oy * stride_y - top + ky
            if iy >= 0 and iy < g.height:
                if in_one:
                    narrow = T.alloc_buffer((lanes,), lane)
                    start(narrow)
                    for kx in range(kernel_width):
                        ix: T.let = ox * stride_x - left + kx
                        if ix >= 0 and ix < g.width:
                            tap: T.let = ky * kernel_width + kx
                            add_pixel(x, codes, narrow, s, iy, ix, tap, first, 0, g.in_channels)
                    widen(acc, 0, narrow, 0, 0)
                else:
                    for kx in range(kernel_width):
                        ix: T.let = ox * stride_x - left + kx
                        if ix >= 0 and ix < g.width:
                            tap: T.let = ky * kernel_width + kx
                            if rows == 0:
                                add_pixel(x, codes, acc, s, iy, ix, tap, first, 0, g.in_channels)
                            else:
                                for chunk in range((g.in_channels + at_once - 1) // at_once):
                                    begin: T.let = chunk * at_once
                                    end: T.let = T.min(begin + at_once, g.in_channels)
                                    narrow = T.alloc_buffer((lanes,), lane)
                                    start(narrow)
                                    add_pixel(x, codes, narrow, s, iy, ix, tap, first, begin, end)
                                    widen(acc, 0, narrow, 0, 0)

    return add_products


def _add_listed(g: Geometry, image: str, accumulator: str, skips: bool):
    """A TIR macro: add the products of all inputs without vectors.

    Inputs of a row of the kernel are listed first, so that a few sums at a time stay in registers
    while all of them are added.
    """
    lanes = min(-(-g.channels // _SUMS) * _SUMS, g.block_words(accumulator) * WORD)
    (kernel_height, kernel_width), (stride_y, stride_x), (top, left) = g.kernel, g.strides, g.pads

    @T.macro
    def add_products(x, weights, offsets, codes, events, counts, acc, s, oy, ox, first):
        ix: T.let = ox * stride_x - left
        for ky in range(kernel_height):
            iy: T.let = oy * stride_y - top + ky
            if iy >= 0 and iy < g.height:
                rows = T.alloc_buffer((kernel_width * g.in_channels,), "int32")
                values = T.alloc_buffer((kernel_width * g.in_channels,), accumulator)
                end = T.alloc_buffer((1,), "int32")
                end[0] = 0
                for kx in range(kernel_width):
                    if ix + kx >= 0 and ix + kx < g.width:
                        for c in range(g.in_channels):
                            pixel: T.let = ((s * g.in_channels + c) * g.height + iy) * g.width
                            value: T.let = x[pixel + ix + kx]
                            if value != T.Cast(image, 0) or not skips:
                                tap: T.let = (ky * kernel_width + kx) * g.in_channels + c
                                rows[end[0]] = tap * g.columns + first
                                values[end[0]] = T.Cast(accumulator, value)
                                end[0] = end[0] + 1
                if end[0] > 0:
                    for lane in range(lanes // _SUMS):
                        sums = T.alloc_buffer((_SUMS,), accumulator)
                        for i in T.unroll(_SUMS):
                            sums[i] = acc[lane * _SUMS + i]
                        for n in range(end[0]):
                            for i in T.unroll(_SUMS):
                                code: T.let = codes[rows[n] + lane * _SUMS + i]
                                sums[i] = sums[i] + T.Cast(accumulator, code) * values[n]
                        for i in T.unroll(_SUMS):
                            acc[lane * _SUMS + i] = sums[i]

    return add_products
