"""Sums over frames by instructions that add the products of four bytes by four.

Four neighbouring columns of a channel are taken at once, where they lie in the rows that are
copied; codes beyond the window's columns are 0. An instruction takes bytes with a sign or without:
where frames are of the other kind, all are 128 more or less, and what that comes to is known for
each output.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.conv_layer import Accumulation
from hqc.codegen.kernels.dot_codes import FOUR
from hqc.codegen.kernels.dotted_tiles import dot, four_inputs, join_rows, takes_signed
from hqc.codegen.kernels.frame_rows import FrameRows
from hqc.codegen.kernels.geometry import Geometry, code_rows, is_wide
from hqc.codegen.kernels.kernel_base import Constant
from hqc.codegen.kernels.neurons import WORD
from hqc.codegen.kernels.weights import StoredWeights

_HALF = 128
_MOST = 255
"""What a byte may be."""


def suits_dotted_frames(node: ir.Node) -> bool:
    """Whether a convolution of frames has codes that are bytes, and 32 bits hold its sums."""
    stored = StoredWeights.of(node, code_rows(node))
    reach = int(np.abs(stored.codes).sum(0).max(initial=0)) * _MOST
    bytes_ = stored.is_packed and stored.code == "int8"
    return bytes_ and reach < 2**31 and not is_wide(node)


def dotted_sums(
    g: Geometry, stored: StoredWeights, image: str, steps: int, bits: int
) -> Accumulation:
    """Sums of a layer that suits, by vectors of so many bits."""
    signed = takes_signed(bits)
    flipped = signed != (image == "int8")
    reach = -(-g.kernel[1] // FOUR) * FOUR
    frames = FrameRows(g, image, steps, reach, vector=True, zero=_HALF if flipped else 0)
    weights, offsets = stored.constants()
    more = (_HALF if signed else -_HALF) * flipped
    corrections = np.pad(stored.codes.sum(0) * more, (0, g.columns - stored.codes.shape[1]))
    both = np.concatenate([offsets.array, corrections.astype("<i4").view(np.int8)])
    return Accumulation(
        image=image,
        weights=(weights, Constant(both)),
        accumulator="int32",
        block_words=g.block_words("int32"),
        codes_size=g.kernel[0] * g.in_channels * reach * g.columns,
        code="uint32",
        frames=frames,
        events_size=frames.size,
        event="uint8",
        prepare=_unpack(frames, stored, bits),
        add=_add_dots(frames, stored.columns, bits),
        clears=False,
    )


def _unpack(frames: FrameRows, stored: StoredWeights, bits: int):
    """A TIR macro: stored rows -> words [kernel rows, channels, fours, columns] of the codes of
    four columns, or 0."""
    g, fours = frames.g, frames.reach // FOUR
    join, (kernel_height, kernel_width) = join_rows(stored, g.columns, bits), g.kernel
    whole, left = divmod(kernel_width, FOUR)

    @T.macro
    def unpack_four(weights, offsets, codes, ky, c, four, count):
        row: T.let = (ky * g.in_channels + c) * fours + four
        first: T.let = (ky * kernel_width + four * FOUR) * g.in_channels + c
        join(weights, offsets, codes, row, first, g.in_channels, count)

    @T.macro
    def unpack(weights, offsets, codes):
        for ky in range(kernel_height):
            for c in range(g.in_channels):
                for four in range(whole):
                    unpack_four(weights, offsets, codes, ky, c, four, FOUR)
                if left > 0:
                    unpack_four(weights, offsets, codes, ky, c, whole, left)

    return unpack


def _add_dots(frames: FrameRows, corrections: int, bits: int):
    """A TIR macro: the sums of a position, from its corrections on, which lie behind so many
    offsets."""
    g, lanes = frames.g, bits // 32
    vectors = g.block_words("int32") * WORD // lanes
    kernel_height, fours = g.kernel[0], frames.reach // FOUR

    @T.macro
    def add_dots(x, weights, offsets, codes, events, counts, acc, s, oy, ox, first):
        for v in T.unroll(vectors):
            acc[T.Ramp(v * lanes, 1, lanes)] = T.call_intrin(
                f"int32x{lanes}",
                "tirx.reinterpret",
                offsets[T.Ramp(corrections + (first + v * lanes) * FOUR, 1, lanes * FOUR)],
            )
        for ky in T.unroll(kernel_height):
            for c in range(g.in_channels):
                for four in T.unroll(fours):
                    at: T.let = frames.at(s, ky, c, ox * g.strides[1] + four * FOUR)
                    row: T.let = ((ky * g.in_channels + c) * fours + four) * g.columns
                    for v in T.unroll(vectors):
                        acc[T.Ramp(v * lanes, 1, lanes)] = dot(
                            acc[T.Ramp(v * lanes, 1, lanes)],
                            four_inputs(events, at, bits),
                            T.call_intrin(
                                f"int8x{lanes * FOUR}",
                                "tirx.reinterpret",
                                codes[T.Ramp(row + first + v * lanes, 1, lanes)],
                            ),
                            bits,
                        )

    return add_dots
