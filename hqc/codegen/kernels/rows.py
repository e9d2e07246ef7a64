"""How parts, which may be computed at the same time, share a kernel's output: by rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tvm import tirx
from tvm.script import tirx as T

from hqc.dialect.layouts import ALIGNMENT

_LEAST = 16
"""Rows that there are at least, of as many items, so that parts are about equal."""


@dataclass(frozen=True)
class Rows:
    """Rows of `size` items of an output, the last of which may have fewer."""

    items: int
    size: int = 1

    @classmethod
    def in_lines(cls, items: int, item_bytes: int) -> Rows:
        """Rows of as many items as fill whole lines of the cache, where that leaves enough of them:
        so no two threads write one line."""
        in_line = ALIGNMENT // math.gcd(ALIGNMENT, item_bytes)
        return cls(items, max(min(in_line, items // _LEAST), 1))

    @property
    def count(self) -> int:
        """How many there are."""
        return -(-self.items // self.size)

    def has(self, item, part, parts):
        """Whether an item is in one of a part's rows, which are every so many: rows that are near
        each other take about as long; of TIR."""
        return tirx.EQ(T.truncmod(T.truncdiv(item, self.size), parts), part)
