"""Sums over frames without vectors: inputs of a row of the kernel are listed, then multiplied.

A few sums at a time stay in registers while all listed inputs are added. Where neurons lie side by
side in lanes of words, so do sums and codes, and one product serves all lanes of a word: what
carries from lane to lane cancels out in the sum.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.conv_layer import Accumulation
from hqc.codegen.kernels.frame_rows import FrameRows
from hqc.codegen.kernels.lane_neurons import NeuronLanes
from hqc.codegen.kernels.neurons import Neurons
from hqc.codegen.kernels.weights import StoredWeights

_MOST_LISTED = 120
"""Inputs that are listed at once: TVM keeps less than 1 KiB on the stack, and no number is longer
than 8 bytes."""


def _at_once(elements: int) -> int:
    """How many sums registers hold, so that few more than these are computed."""
    return min((4, 5, 6), key=lambda n: -(-elements // n) * n)


def add_listed(
    frames: FrameRows, accumulator: str, skips: bool, columns: int, elements: int, lanes: int
):
    """A TIR macro: add the products of all inputs, `lanes` sums in an element of `accumulator`.

    Rows of codes have so many `columns` of elements, of which a block reads `elements`, if need be
    made up to a multiple of some. With `skips`, inputs that are 0 are not listed.
    """
    g, at_once = frames.g, _at_once(elements)
    kernel_height, kernel_width = g.kernel
    channels = min(g.in_channels, max(_MOST_LISTED // kernel_width, 1))

    @T.macro
    def add_products(x, weights, offsets, codes, events, counts, acc, s, oy, ox, first):
        for ky, piece in T.grid(kernel_height, -(-g.in_channels // channels)):
            begin: T.let = piece * channels
            rows = T.alloc_buffer((kernel_width * channels,), "int32")
            values = T.alloc_buffer((kernel_width * channels,), accumulator)
            end = T.alloc_buffer((1,), "int32")
            end[0] = 0
            for kx in range(kernel_width):
                for n in range(T.min(channels, g.in_channels - begin)):
                    c: T.let = begin + n
                    value: T.let = frames.number(events, s, ky, c, ox * g.strides[1] + kx)
                    if value != T.Cast(frames.image, 0) or not skips:
                        tap: T.let = (ky * kernel_width + kx) * g.in_channels + c
                        rows[end[0]] = tap * columns + first // lanes
                        values[end[0]] = T.Cast(accumulator, value)
                        end[0] = end[0] + 1
            if end[0] > 0:
                for chunk in range((elements + at_once - 1) // at_once):
                    sums = T.alloc_buffer((at_once,), accumulator)
                    for i in T.unroll(at_once):
                        sums[i] = acc[chunk * at_once + i]
                    for n in range(end[0]):
                        for i in T.unroll(at_once):
                            code: T.let = codes[rows[n] + chunk * at_once + i]
                            sums[i] = sums[i] + T.Cast(accumulator, code) * values[n]
                    for i in T.unroll(at_once):
                        acc[chunk * at_once + i] = sums[i]

    return add_products


def lane_sums(frames: FrameRows, node: ir.Node, stored: StoredWeights, skips: bool) -> Accumulation:
    """Sums of a layer whose neurons lie side by side."""
    g = frames.g
    lanes = Neurons.of(node).in_lanes(g.channels)
    block_words = g.block_words("int32")
    elements = block_words * lanes.per_block
    columns = g.out_words * lanes.per_block
    if g.out_words == block_words:
        elements = lanes.row
        columns = -(-elements // _at_once(elements)) * _at_once(elements)
    stored = stored.reordered(lanes.order())
    return Accumulation(
        image=frames.image,
        accumulator=lanes.word,
        block_words=block_words,
        per_element=lanes.lanes,
        frames=frames,
        events_size=frames.size,
        event="uint8",
        weights=stored.constants(),
        codes_size=len(stored.codes) * columns * np.dtype(lanes.word).itemsize,
        code=lanes.word,
        prepare=_pack(stored, lanes, columns),
        add=add_listed(frames, lanes.word, skips, columns, elements, lanes.lanes),
    )


def _pack(stored: StoredWeights, lanes: NeuronLanes, columns: int):
    """A TIR macro: stored codes -> words of codes in lanes [K, columns]."""
    read, rows, parts, row_items = (
        stored.reader(),
        len(stored.codes),
        stored.parts,
        stored.row_items,
    )
    used, per_word, bits, word = lanes.row * lanes.lanes, lanes.lanes, lanes.bits, lanes.word

    @T.macro
    def pack(weights, offsets, codes):
        for n in range(rows * columns):
            codes[n] = T.Cast(word, 0)
        for k in range(rows):
            for part in T.unroll(parts):
                for i in range(T.min(row_items, used - part * row_items)):
                    lane: T.let = part * row_items + i
                    at: T.let = k * columns + lane // per_word
                    code: T.let = T.Cast(word, read(weights, offsets, k, i, part))
                    codes[at] = codes[at] + T.shift_left(code, T.Cast(word, lane % per_word * bits))

    return pack
