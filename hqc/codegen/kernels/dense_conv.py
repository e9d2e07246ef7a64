"""DenseConv: the first layer, on 8-bit frames, with or without the inputs that are 0."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.conv_layer import Accumulation, Layer, conv_layer
from hqc.codegen.kernels.conv_potentials import conv_potentials
from hqc.codegen.kernels.dotted_frames import dotted_sums
from hqc.codegen.kernels.frame_rows import FrameRows
from hqc.codegen.kernels.geometry import (
    Geometry,
    accumulator_type,
    code_rows,
    is_wide,
    narrowest,
)
from hqc.codegen.kernels.kernel_base import KernelCall, kernel
from hqc.codegen.kernels.lanes import add, add_product, clear
from hqc.codegen.kernels.listed_frames import add_listed, lane_sums
from hqc.codegen.kernels.neurons import WORD, Neurons
from hqc.codegen.kernels.unpack import codes_of
from hqc.codegen.kernels.weights import StoredWeights
from hqc.dialect import find_op

_LARGEST = {"uint8": 255, "int8": 128}

_UNROLLED = 8
"""Channels whose products are written out, at most."""


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
    steps, _, height, width = node.inputs[0].shape.numpy()
    g = Geometry.of(node, height, width, planes=1)
    stored = StoredWeights.of(node, code_rows(node))
    image = node.inputs[0].dtype.name.lower()
    frames = FrameRows(g, image, steps, g.kernel[1], vector)
    accumulator = accumulator_type(stored.codes, _LARGEST[image], is_wide(node))

    if dot_bits := find_op(node).attributes(node)["dot_bits"]:
        sums = dotted_sums(g, stored, image, steps, dot_bits)
        return g, sums, ("dense by dots", sums.frames, stored.form, dot_bits)
    skips = node.attributes["kernel"].value == "sparse" if "kernel" in node.attributes else True
    if node.op_type == "DenseConv" and (lanes := Neurons.of(node).lanes) > 1:
        sums = lane_sums(frames, node, stored, skips)
        return g, sums, ("dense in lanes", frames, stored.form, lanes, skips)
    product = _LARGEST[image] * int(np.abs(stored.codes).max(initial=1))
    lane, rows = narrowest(product, accumulator) if vector else (accumulator, 0)
    block = min(g.channels, g.block_words(accumulator) * WORD)
    add_products = (
        _add_products(frames, lane, accumulator, rows, skips)
        if vector
        else add_listed(frames, accumulator, skips, g.columns, block, 1)
    )
    sums = Accumulation(
        image=image,
        accumulator=accumulator,
        block_words=g.block_words(accumulator),
        frames=frames,
        events_size=frames.size,
        event="uint8",
        **codes_of(
            stored,
            g.columns,
            add_products,
            vector,
            code=lane if rows else None,
        ),
    )
    return g, sums, ("dense", frames, stored.form, accumulator, lane, rows, skips)


def _add_products(frames: FrameRows, lane: str, accumulator: str, rows: int, skips: bool):
    """A TIR macro: add the products of all inputs, in narrow lanes that hold so many `rows`.

    They are widened after each row of the kernel, each tap, or some of a tap's channels: after as
    many inputs as they hold. With 0 rows, nothing is narrower than the accumulator.
    """
    g, lanes = frames.g, frames.g.block_lanes(accumulator)
    add_row, widen = add_product(lanes, lane, vector=True), add(lanes, accumulator, vector=True)
    start = clear(lanes, lane, vector=True)
    kernel_height, kernel_width = g.kernel
    in_one = kernel_width * g.in_channels <= rows
    at_once = min(rows, g.in_channels) if rows else g.in_channels
    whole = in_one or rows == 0
    each = T.unroll if whole and g.in_channels <= _UNROLLED else T.serial

    @T.macro
    def add_tap(events, codes, sums, s, ky, kx, ox, first, begin, end):
        for c in each(end - begin):
            value: T.let = T.Cast(
                lane, frames.number(events, s, ky, begin + c, ox * g.strides[1] + kx)
            )
            k: T.let = (ky * kernel_width + kx) * g.in_channels + begin + c
            if skips:
                if value != T.Cast(lane, 0):
                    add_row(sums, 0, codes, k * g.columns + first, value)
            else:
                add_row(sums, 0, codes, k * g.columns + first, value)

    @T.macro
    def add_products(x, weights, offsets, codes, events, counts, acc, s, oy, ox, first):
        for ky in range(kernel_height):
            if in_one:
                narrow = T.alloc_buffer((lanes,), lane)
                start(narrow, 0)
                for kx in T.unroll(kernel_width):
                    add_tap(events, codes, narrow, s, ky, kx, ox, first, 0, g.in_channels)
                widen(acc, 0, narrow, 0, 0)
            else:
                for kx in T.unroll(kernel_width):
                    if rows == 0:
                        add_tap(events, codes, acc, s, ky, kx, ox, first, 0, g.in_channels)
                    else:
                        for chunk in range((g.in_channels + at_once - 1) // at_once):
                            begin: T.let = chunk * at_once
                            end: T.let = T.min(begin + at_once, g.in_channels)
                            narrow = T.alloc_buffer((lanes,), lane)
                            start(narrow, 0)
                            add_tap(events, codes, narrow, s, ky, kx, ox, first, begin, end)
                            widen(acc, 0, narrow, 0, 0)

    return add_products
