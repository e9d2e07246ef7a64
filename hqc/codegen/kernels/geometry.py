"""Shapes of a convolution as its kernels need them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from hqc.codegen.kernels.neurons import WORD, used_lanes
from hqc.dialect import find_op
from hqc.dialect.planes import words

_MOST = {"int16": 4, "int32": 4, "int64": 1}
"""Words of output channels whose sums registers hold."""

_WORTH_WIDENING_LATE = 4
"""Addends that a narrower lane must hold to pay."""


@dataclass(frozen=True)
class Geometry:
    """A convolution from [height, width, in_channels] to [out_height, out_width, channels]."""

    height: int
    width: int
    in_channels: int
    planes: int
    out_height: int
    out_width: int
    channels: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int]

    @property
    def in_words(self) -> int:
        """Words of one plane of an input position."""
        return words(self.in_channels)

    @property
    def out_words(self) -> int:
        """Words of an output position."""
        return words(self.channels)

    @property
    def columns(self) -> int:
        """Output channels, made up to whole words."""
        return self.out_words * WORD

    @property
    def inputs(self) -> int:
        """Inputs of one output: K."""
        return self.kernel[0] * self.kernel[1] * self.in_channels

    @property
    def is_pointwise(self) -> bool:
        """Whether each position of the output sees the same position of the input, and no other."""
        same = (self.height, self.width) == (self.out_height, self.out_width)
        return {*self.kernel, *self.strides} == {1} and same

    def block_words(self, accumulator: str) -> int:
        """Words of output channels that are summed at once, all blocks equal: at most 4, and 1 of
        64-bit sums, so that registers hold them."""
        return next(b for b in (4, 3, 2, 1) if self.out_words % b == 0 and b <= _MOST[accumulator])

    def block_lanes(self, accumulator: str) -> int:
        """Lanes of these words that outputs are in: half a word's where that is enough."""
        return used_lanes(self.channels, self.block_words(accumulator) * WORD)

    @classmethod
    def of(cls, node: ir.Node, height: int, width: int, planes: int) -> Geometry:
        """The geometry of a convolution on an input of that size."""
        channels, in_channels, *kernel = node.inputs[1].shape.numpy()
        _, out_height, out_width, *_ = node.outputs[0].shape.numpy()
        return cls(
            height,
            width,
            in_channels,
            planes,
            out_height,
            out_width,
            channels,
            tuple(kernel),
            tuple(node.attributes["strides"].value),
            tuple(node.attributes["pads"].value[:2]),
        )


def is_wide(node: ir.Node) -> bool:
    """Whether the node asks for sums of 64 bits."""
    return bool(find_op(node).attributes(node).get("wide", 0))


def code_rows(node: ir.Node) -> np.ndarray:
    """The node's codes as [K, N], K running over kernel rows, kernel columns, input channels."""
    codes = node.inputs[1].const_value.numpy()
    return np.ascontiguousarray(codes.transpose(2, 3, 1, 0).reshape(-1, codes.shape[0]))


def accumulator_type(rows: np.ndarray, largest_input: int, wide: bool) -> str:
    """The narrowest of int16, int32 and int64 that these codes prove to hold every partial sum;
    int64 where the node asks for `wide` sums."""
    reach = int(np.abs(rows).sum(0).max()) * largest_input
    return "int64" if wide else next(f"int{b}" for b in (16, 32, 64) if reach < 1 << (b - 1))


def narrowest(largest: int, accumulator: str) -> tuple[str, int]:
    """The narrowest lanes that hold several addends up to `largest`, and how many.

    The accumulator's own and 0 where no narrower ones do.
    """
    for lane in ("int8", "int16"):
        addends = int(np.iinfo(lane).max) // largest
        if lane != accumulator and addends >= _WORTH_WIDENING_LATE:
            return lane, addends
        if lane == accumulator:
            break
    return accumulator, 0
