"""A layer's codes as instructions that add the products of four bytes read them.

They lie in blocks of 32 outputs: a row of a block holds four inputs of each of its outputs. Stored,
a row is fields like those of other weights; a block is unpacked when it is needed, so that
it is in the first cache and all codes are never unpacked at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm.script import tirx as T

from hqc.codegen.kernels.geometry import Geometry
from hqc.codegen.kernels.kernel_base import Constant
from hqc.codegen.kernels.neurons import WORD
from hqc.codegen.kernels.weights import StoredWeights

FOUR = 4
_ROW = WORD * FOUR
_VECTOR = 64
"""Codes that are unpacked at once, at most."""


@dataclass(frozen=True, eq=False)
class DotCodes:
    """Codes, int8, of inputs in fours and outputs in words."""

    stored: StoredWeights

    @classmethod
    def of_pixels(cls, g: Geometry, stored: StoredWeights) -> DotCodes:
        """Those of a convolution of packed spikes: the inputs of a pixel made up to words."""
        codes = stored.widened(g.columns).codes.reshape(-1, g.in_channels, g.columns)
        more = g.in_words * WORD - g.in_channels
        rows = np.pad(codes, ((0, 0), (0, more), (0, 0))).reshape(-1, g.columns)
        return cls(StoredWeights(rows, stored.bits, stored.scheme))

    @property
    def rows(self) -> int:
        """Rows of a block."""
        return len(self.stored.codes) // FOUR

    @property
    def block_size(self) -> int:
        """Codes of a block."""
        return self.rows * _ROW

    def constants(self) -> tuple[Constant, Constant]:
        """Stored fields [blocks, rows, items], and each output's offset four times."""
        blocks = self.stored.fields().reshape(self.rows, FOUR, -1, WORD).transpose(2, 0, 3, 1)
        packed = self.stored.packed(np.ascontiguousarray(blocks).reshape(-1, _ROW))
        offsets = np.repeat(self.stored.offsets(), FOUR)
        return Constant(packed, is_weights=True), Constant(offsets)

    def unpack(self):
        """A TIR macro (weights, offsets, codes, block): codes [rows, 32, 4] of a block."""
        decoded, rows, parts = self.stored.decoder(), self.rows, self.stored.parts
        items = _ROW // parts
        width = min(items, _VECTOR)

        def code(weights, offsets, at, part, lane):
            return decoded(weights[at], part, lambda: offsets[lane])

        @T.macro
        def unpack(weights, offsets, codes, block):
            for row in range(rows):
                for part in T.unroll(parts):
                    for chunk in T.unroll(items // width):
                        for v in T.vectorized(width):
                            codes[row * _ROW + part * items + chunk * width + v] = code(
                                weights,
                                offsets,
                                (block * rows + row) * items + chunk * width + v,
                                part,
                                block * _ROW + part * items + chunk * width + v,
                            )

        return unpack
