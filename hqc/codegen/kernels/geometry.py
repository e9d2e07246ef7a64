"""Shapes of a convolution as its kernels need them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from hqc.codegen.kernels.neurons import WORD
from hqc.dialect.planes import words


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
    def block_words(self) -> int:
        """Words of output channels that are summed at once: at most 4, all blocks equal."""
        return next(b for b in (4, 3, 2, 1) if self.out_words % b == 0)

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


def code_rows(node: ir.Node) -> np.ndarray:
    """The node's codes as [K, N], K running over kernel rows, kernel columns, input channels."""
    codes = node.inputs[1].const_value.numpy()
    return np.ascontiguousarray(codes.transpose(2, 3, 1, 0).reshape(-1, codes.shape[0]))


def accumulator_type(rows: np.ndarray, largest_input: int) -> str:
    """int16 where these codes prove that it holds every partial sum, else int32."""
    reach = int(np.abs(rows.astype(np.int64)).sum(0).max()) * largest_input
    return "int16" if reach < 2**15 else "int32"
