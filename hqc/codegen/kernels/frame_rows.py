"""Rows of frames that a row of windows sees, with their padding, and where windows change.

Images are the same at every step, and frames of events are empty nearly everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm.script import tirx as T

from hqc.codegen.kernels.geometry import Geometry

_VECTOR = 16
"""Bytes that are compared at once, with vectors."""


@dataclass(frozen=True)
class FrameRows:
    """Rows of frames of bytes, `image`, for windows that read `reach` columns of each.

    They lie in a buffer of uint8: first a flag for each of `steps` steps and output of the row,
    then rows [steps, kernel rows, channels, width], then which columns change; all are made up to
    whole vectors, where there are some. `zero` stands for 0, and a number for its bits with those
    of `zero` turned over.
    """

    g: Geometry
    image: str
    steps: int
    reach: int
    vector: bool
    zero: int = 0

    @property
    def _lanes(self) -> int:
        return _VECTOR if self.vector else 1

    @property
    def outputs(self) -> int:
        """Flags of a step."""
        return -(-self.g.out_width // self._lanes) * self._lanes

    @property
    def width(self) -> int:
        """Bytes of a row."""
        seen = (self.outputs - 1) * self.g.strides[1] + self.reach
        return -(-seen // self._lanes) * self._lanes

    @property
    def _step(self) -> int:
        return self.g.kernel[0] * self.g.in_channels * self.width

    @property
    def _flags(self) -> int:
        return self.steps * self.outputs

    @property
    def size(self) -> int:
        """Bytes of the buffer."""
        return self._flags + self.steps * self._step + self.width

    def at(self, s, ky, c, column):
        """Where a column lies of the ky-th row of a channel at a step."""
        row = (s * self.g.kernel[0] + ky) * self.g.in_channels + c
        return self._flags + row * self.width + column

    def number(self, rows, s, ky, c, column):
        """What lies there."""
        return T.Cast(self.image, rows[self.at(s, ky, c, column)])

    def copy(self):
        """A TIR macro (x, rows, s, oy): the rows that the output's row oy sees at step s."""
        g, width, left = self.g, self.width, self.g.pads[1]
        begin, end = min(left, width), min(left + g.width, width)

        @T.macro
        def copy(x, rows, s, oy):
            for ky in range(g.kernel[0]):
                iy: T.let = oy * g.strides[0] - g.pads[0] + ky
                for c in range(g.in_channels):
                    pixel: T.let = ((s * g.in_channels + c) * g.height + iy) * g.width
                    to: T.let = self.at(s, ky, c, 0)
                    if iy >= 0 and iy < g.height:
                        for column in range(begin):
                            rows[to + column] = T.uint8(self.zero)
                        for column in range(end - begin):
                            rows[to + begin + column] = T.Cast(
                                "uint8", x[pixel + begin - left + column]
                            ) ^ T.uint8(self.zero)
                        for column in range(width - end):
                            rows[to + end + column] = T.uint8(self.zero)
                    else:
                        for column in range(width):
                            rows[to + column] = T.uint8(self.zero)

        return copy

    def mark(self):
        """A TIR macro (rows, steps): set a step's and an output's flag, rows[s * outputs + ox],
        where it sees anything else than the step before, or at the first, than 0; else it is 0."""
        g, width, step, lanes = self.g, self.width, self._step, self._lanes
        begin, differs = self._flags, self._flags + self.steps * step
        each = T.vectorized if self.vector else T.serial

        @T.macro
        def mark(rows, steps):
            for s in range(steps):
                for chunk in range(width // lanes):
                    changes = T.alloc_buffer((lanes,), "uint8")
                    for v in each(lanes):
                        changes[v] = T.uint8(0)
                    for row in range(step // width):
                        at: T.let = begin + s * step + row * width + chunk * lanes
                        if s == 0:
                            for v in each(lanes):
                                changes[v] = changes[v] | (rows[at + v] ^ T.uint8(self.zero))
                        else:
                            for v in each(lanes):
                                changes[v] = changes[v] | (rows[at + v] ^ rows[at + v - step])
                    for v in each(lanes):
                        rows[differs + chunk * lanes + v] = changes[v]
                for chunk in range(self.outputs // lanes):
                    seen = T.alloc_buffer((lanes,), "uint8")
                    for v in each(lanes):
                        seen[v] = T.uint8(0)
                    for kx in T.unroll(g.kernel[1]):
                        for v in each(lanes):
                            seen[v] = (
                                seen[v] | rows[differs + (chunk * lanes + v) * g.strides[1] + kx]
                            )
                    for v in each(lanes):
                        rows[s * self.outputs + chunk * lanes + v] = seen[v]

        return mark
