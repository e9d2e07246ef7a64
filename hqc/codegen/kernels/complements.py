"""Sums of planes of which more than half fires, by what does not.

The sum of a plane is that of all weights that a position sees, less those of inputs that do not
fire. So lists that are `SpikeLists.complemented` hold whatever is less, and counts say, behind
those of the planes, of which it is what does not fire. Sums change their sign before such a plane
is added and after it; what all weights come to is added last, for all such planes at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm.script import tirx as T

from hqc.codegen.kernels.conv_layer import nothing
from hqc.codegen.kernels.kernel_base import Constant
from hqc.codegen.kernels.lanes import add_product, in_vectors
from hqc.codegen.kernels.spike_lists import SpikeLists


@dataclass(frozen=True)
class Complements:
    """Sums of lists: of so many `outputs`, those of a block, which are read and written in `parts`
    that vectors make up each."""

    lists: SpikeLists
    accumulator: str
    outputs: int
    parts: int = 1

    @property
    def _size(self) -> int:
        return self.outputs // self.parts

    def of(self, codes: np.ndarray) -> dict[str, Any]:
        """How sums of codes [K, N] get what all weights come to, as fields of `Accumulation`."""
        if not self.lists.complemented:
            return {}
        return {"settle": self._settle(), "totals": self._totals(codes)}

    def _totals(self, codes: np.ndarray) -> Constant:
        """What the codes of each pixel of a window come to, and last those of all pixels."""
        g = self.lists.g
        taps = codes.reshape(-1, g.in_channels, codes.shape[1]).sum(1, dtype=np.int64)
        rows = np.concatenate([taps, taps.sum(0, keepdims=True)]).astype(self.accumulator)
        return Constant(np.pad(rows, ((0, 0), (0, g.columns - rows.shape[1]))))

    def signed(self, counts, plane):
        """How many inputs are listed of a plane: less than 0 if these do not fire."""
        if not self.lists.complemented:
            return counts[plane]
        flag = counts[self.lists.g.planes + plane]
        return T.Select(flag != 0, 0 - counts[plane], counts[plane])

    def turn(self):
        """A TIR macro (acc, counts, plane): change the sign of the sums if what does not fire is
        listed of a plane."""
        if not self.lists.complemented:
            return nothing
        planes, parts = self.lists.g.planes, self.parts
        size, accumulator = self._size, self.accumulator

        def lanes(width):
            @T.macro
            def body(i, acc):
                for v in T.vectorized(width):
                    acc[i + v] = T.Cast(accumulator, 0) - acc[i + v]

            return body

        negate = in_vectors(size, lanes)

        @T.macro
        def turn(acc, counts, plane):
            if counts[planes + plane] != 0:
                for part in T.unroll(parts):
                    negate(part * size, acc)

        return turn

    def _settle(self):
        """A TIR macro (totals, counts, acc, oy, ox, first): add what all weights of the pixels that
        are there come to, once for each plane of which it is listed what does not fire."""
        g, parts, size = self.lists.g, self.parts, self._size
        (height, width), (stride_y, stride_x), (top, left) = g.kernel, g.strides, g.pads
        add_row = add_product(size, self.accumulator, vector=True)

        @T.macro
        def add_all(totals, row, acc, first, factor):
            for part in T.unroll(parts):
                add_row(acc, part * size, totals, row * g.columns + first + part * size, factor)

        @T.macro
        def settle(totals, counts, acc, oy, ox, first):
            factor = T.alloc_buffer((1,), "int32")
            factor[0] = 0
            for plane in T.unroll(g.planes):
                factor[0] = factor[0] + T.shift_left(counts[g.planes + plane], plane)
            if factor[0] != 0:
                iy: T.let = oy * stride_y - top
                ix: T.let = ox * stride_x - left
                if iy >= 0 and iy + height <= g.height and ix >= 0 and ix + width <= g.width:
                    add_all(totals, height * width, acc, first, factor[0])
                else:
                    for tap in range(height * width):
                        y: T.let = iy + tap // width
                        x: T.let = ix + tap % width
                        if y >= 0 and y < g.height and x >= 0 and x < g.width:
                            add_all(totals, tap, acc, first, factor[0])

        return settle
