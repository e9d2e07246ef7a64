"""Lists of the inputs that fire, which event kernels add the weight rows of.

A position of a convolution sees `kernel` rows of neighbouring pixels. All pixels of these rows are
listed once for all positions of an output row; what a position sees of each is one piece of its
list, copied behind the last with another first row. So a spike is found once for each row of the
kernel, not once for each of its taps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.conv_layer import NO_TABLE
from hqc.codegen.kernels.geometry import Geometry
from hqc.codegen.kernels.listed_pixels import MASKS, SET_BITS, pixel_lister
from hqc.codegen.kernels.neurons import WORD
from hqc.dialect import find_op

_COPIED = 16
"""Indices that are copied at once."""

_MOST = 32
"""Rows of a lane that count when these are divided; beyond, a few more or less do not matter."""


def rows_at_once(rows: int) -> int:
    """How many rows to add without a branch, of those that a lane holds: few, since a list is made
    up to a multiple of them, and so that little of the lane is left over."""
    return rows if rows < 8 else max((4, 5, 6), key=lambda u: min(rows, _MOST) // u * u)


def pieces(count, size: int):
    """In how many pieces of `size` a count of TIR comes, the last of which may be smaller."""
    # Without a sign: rounding a quotient down that may be negative takes more instructions.
    return T.Cast("int32", T.Cast("uint32", count + (size - 1)) // T.uint32(size))


@dataclass(frozen=True)
class SpikeLists:
    """Lists of a convolution of packed spikes, in one buffer.

    First the list of a position, `capacity` for each plane; then those of the input rows that an
    output row sees; then where each pixel begins in these. Lists are made up to a multiple of
    `unrolled` by an input that no layer has, the row of which is zeros. What is listed of an input
    is `row_size` times its index: with the size of a row, where its row begins. With vectors
    `listing` says by what.

    Where more than half of a plane fires, in the rows that an output row sees or in a position's
    one pixel, what does not fire is listed if lists are `complemented`. Counts say of which planes.
    """

    g: Geometry
    unrolled: int
    vector: bool
    row_size: int = 1
    listing: str = "table"
    complemented: bool = False

    @classmethod
    def of_node(
        cls, node: ir.Node, g: Geometry, unrolled: int, vector: bool, row: int
    ) -> SpikeLists:
        """Lists of rows of so many elements, such as a node's attributes say if there are vectors.

        By a mask, where rows begin takes no longer to list than which they are.
        """
        said = find_op(node).attributes(node) if vector else {}
        listing, complemented = said.get("listing", "table"), said.get("complement", 0) > 0
        lists = cls(g, unrolled, vector, listing=listing, complemented=complemented)
        return lists._of_rows(row) if listing in MASKS else lists

    @classmethod
    def of_rows(cls, g: Geometry, unrolled: int, row: int) -> SpikeLists:
        """Lists without vectors of where rows of so many elements begin."""
        return cls(g, unrolled, vector=False)._of_rows(row)

    def _of_rows(self, row: int) -> SpikeLists:
        """These of where rows of so many elements begin, or how many 32nds of a row that is, if 16
        bits hold either."""
        sizes = [row, row // WORD] if row % WORD == 0 else [row]
        found = (replace(self, row_size=size) for size in sizes)
        return next((lists for lists in found if lists.index == "uint16"), self)

    @property
    def counts(self) -> int:
        """What is counted of a position: what is listed of each plane, and if these are
        `complemented`, whether it is what does not fire."""
        return self.g.planes * (2 if self.complemented else 1)

    @property
    def tile(self) -> int:
        """Positions that are listed together."""
        return 1 if self.is_point else self.g.out_width

    @property
    def is_point(self) -> bool:
        """Whether a position sees one pixel, whose list is its own."""
        return self.g.kernel == (1, 1)

    @property
    def words_at_once(self) -> int:
        """Words whose inputs a mask lists at once; 0 where none does."""
        return MASKS.get(self.listing, 0) if self.vector and self.index == "uint16" else 0

    @property
    def by_table(self) -> bool:
        """Whether a table lists inputs."""
        return self.vector and not self.words_at_once

    @property
    def _written(self) -> int:
        """Indices that are written at once, at most: by a mask as many as a word has, and room for
        them where a table lists, so that memory is the same on all machines."""
        return WORD * MASKS.get(self.listing, 1) if self.vector else _COPIED

    @property
    def capacity(self) -> int:
        """Indices of a position and plane, with those that vectors write beyond the end."""
        beyond = max(self._written, self.unrolled)
        return -(-(self.g.inputs + beyond) // _COPIED) * _COPIED

    @property
    def _row(self) -> int:
        return -(-(self.g.width * self.g.in_channels + self._written) // _COPIED) * _COPIED

    @property
    def _rows(self) -> int:
        return self.g.planes * self.capacity

    @property
    def _begins(self) -> int:
        return self._rows + self.g.planes * self.g.kernel[0] * self._row

    @property
    def _flags(self) -> int:
        """Where it is said of which planes rows list what does not fire."""
        return self._begins + self.g.planes * self.g.kernel[0] * (self.g.width + 1)

    @cached_property
    def index(self) -> str:
        """The type of an index."""
        of_row = 0 if self.is_point else self.g.width * self.g.in_channels
        most = max(self.g.inputs, of_row) + 1
        return "uint16" if most * self.row_size < 2**16 else "int32"

    @property
    def size(self) -> int:
        """Bytes of the buffer."""
        entries = self._rows
        if not self.is_point:
            entries = self._flags + (self.g.planes if self.complemented else 0)
        return entries * np.dtype(self.index).itemsize

    def list_rows(self):
        """A TIR macro (x, table, events, s, oy): list the rows that an output row sees."""
        g, row, rows, begins, index = self.g, self._row, self._rows, self._begins, self.index
        list_pixel, fires_more = pixel_lister(self), self._fires_more()
        (kernel_height, _), stride_y, top = g.kernel, g.strides[0], g.pads[0]

        @T.macro
        def list_rows(x, table, events, s, oy):
            for plane in range(g.planes):
                flip = T.alloc_buffer((1,), "int32")
                flip[0] = 0
                if self.complemented:
                    for ky in range(kernel_height):
                        iy: T.let = oy * stride_y - top + ky
                        if iy >= 0 and iy < g.height:
                            for ix in range(g.width):
                                pixel: T.let = ((s * g.height + iy) * g.width + ix) * g.planes
                                fires_more(x, (pixel + plane) * g.in_words, flip)
                    flip[0] = T.Select(flip[0] > 0, 1, 0)
                    events[self._flags + plane] = T.Cast(index, flip[0])
                for ky in range(kernel_height):
                    iy: T.let = oy * stride_y - top + ky
                    if iy >= 0 and iy < g.height:
                        end = T.alloc_buffer((1,), "int32")
                        end[0] = 0
                        at: T.let = plane * kernel_height + ky
                        for ix in range(g.width):
                            events[begins + at * (g.width + 1) + ix] = T.Cast(index, end[0])
                            pixel: T.let = ((s * g.height + iy) * g.width + ix) * g.planes + plane
                            list_pixel(
                                x, pixel * g.in_words, flip[0], table, events, rows + at * row, end,
                                ix * g.in_channels,
                            )  # fmt: skip
                        events[begins + at * (g.width + 1) + g.width] = T.Cast(index, end[0])

        return list_rows

    def list_position(self):
        """A TIR macro (x, table, events, counts, s, oy, ox): list what a position sees."""
        if self.is_point:
            return self._list_point()
        g, row, rows, begins = self.g, self._row, self._rows, self._begins
        copy, make_up, capacity = self._copy(), self._make_up(), self.capacity
        each = T.unroll if self.vector else T.serial
        (kernel_height, kernel_width), (stride_y, stride_x) = g.kernel, g.strides
        top, left = g.pads

        @T.macro
        def list_position(x, table, events, counts, s, oy, ox):
            ix: T.let = ox * stride_x - left
            first: T.let = T.max(ix, 0)
            last: T.let = T.min(ix + kernel_width, g.width)
            for plane in range(g.planes):
                end = T.alloc_buffer((1,), "int32")
                end[0] = 0
                for ky in each(kernel_height):
                    iy: T.let = oy * stride_y - top + ky
                    if iy >= 0 and iy < g.height and first < last:
                        at: T.let = plane * kernel_height + ky
                        pixel: T.let = begins + at * (g.width + 1)
                        begin: T.let = T.Cast("int32", events[pixel + first])
                        size: T.let = T.Cast("int32", events[pixel + last]) - begin
                        moved: T.let = (ky * kernel_width - ix) * g.in_channels * self.row_size
                        copy(
                            events, rows + at * row + begin, plane * capacity + end[0], size, moved
                        )
                        end[0] = end[0] + size
                counts[plane] = end[0]
                if self.complemented:
                    counts[g.planes + plane] = T.Cast("int32", events[self._flags + plane])
                make_up(events, plane * capacity + end[0])

        return list_position

    def _list_point(self):
        g, capacity = self.g, self.capacity
        list_pixel, make_up = pixel_lister(self), self._make_up()
        fires_more = self._fires_more()
        (stride_y, stride_x), (top, left) = g.strides, g.pads

        @T.macro
        def list_point(x, table, events, counts, s, oy, ox):
            iy: T.let = oy * stride_y - top
            ix: T.let = ox * stride_x - left
            for plane in range(g.planes):
                end = T.alloc_buffer((1,), "int32")
                flip = T.alloc_buffer((1,), "int32")
                end[0] = 0
                flip[0] = 0
                if iy >= 0 and iy < g.height and ix >= 0 and ix < g.width:
                    pixel: T.let = ((s * g.height + iy) * g.width + ix) * g.planes + plane
                    if self.complemented:
                        fires_more(x, pixel * g.in_words, flip)
                        flip[0] = T.Select(flip[0] > 0, 1, 0)
                    list_pixel(
                        x, pixel * g.in_words, flip[0], table, events, plane * capacity, end, 0
                    )
                counts[plane] = end[0]
                if self.complemented:
                    counts[g.planes + plane] = flip[0]
                make_up(events, plane * capacity + end[0])

        return list_point

    def _fires_more(self):
        """A TIR macro: add to more[0] how many of the inputs x[word ..] fire, less the others."""
        in_words, in_channels = self.g.in_words, self.g.in_channels

        @T.macro
        def fires_more(x, word, more):
            for w in range(in_words):
                more[0] = more[0] + 2 * T.Cast("int32", T.popcount(x[word + w]))
            more[0] = more[0] - in_channels

        return fires_more

    def _copy(self):
        """A TIR macro: events[to : to + size] = events[begin : begin + size] + moved; with vectors
        whole ones, at least one."""
        each, at_once = (T.vectorized, _COPIED) if self.vector else (T.serial, 1)
        index, first = self.index, 1 if self.vector else 0

        @T.macro
        def piece(events, begin, to, moved):
            for v in each(at_once):
                events[to + v] = T.Cast(index, T.Cast("int32", events[begin + v]) + moved)

        @T.macro
        def copy(events, begin, to, size, moved):
            if self.vector:
                # Most pieces are short, and whether they are empty cannot be predicted.
                piece(events, begin, to, moved)
            for chunk in range(first, pieces(size, at_once)):
                piece(events, begin + chunk * at_once, to + chunk * at_once, moved)

        return copy

    def _make_up(self):
        """A TIR macro: write behind a list as many indices of zeros as a chunk may read."""
        none, index, spare = self.g.inputs * self.row_size, self.index, self.unrolled
        each = T.vectorized if self.vector else T.serial

        @T.macro
        def make_up(events, end):
            for v in each(spare):
                events[end + v] = T.Cast(index, none)

        return make_up


def listed(lists: SpikeLists) -> dict[str, Any]:
    """How a layer lists its inputs, as fields of `Accumulation`."""
    return {
        "events_size": lists.size,
        "event": lists.index,
        "tile": lists.tile,
        "table": SET_BITS if lists.by_table else NO_TABLE,
        "look": lists.list_position(),
        "counts": lists.counts,
        **({} if lists.is_point else {"look_at_rows": lists.list_rows()}),
    }
