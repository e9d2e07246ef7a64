"""How times grow along an axis of a suite: a straight line, and what is off it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hqc.bench.suite.measure import Measured
from hqc.bench.suite.suite import Axis


@dataclass(frozen=True)
class Growth:
    """Times along an axis, and the line of least squares through them.

    `ms` are milliseconds of an inference at each of `sizes`, of the fastest round. The line is
    `fixed_ms + each_ms * size`; `largest_deviation` is how far a time is off it at most, as a
    share of that time. `kept` is what is the same at all sizes.
    """

    axis: str
    kept: str
    sizes: Sequence[int]
    ms: Sequence[float]
    fixed_ms: float
    each_ms: float
    largest_deviation: float


def growth(axis: Axis, found: Sequence[Measured]) -> Growth:
    """The growth along an axis, of whose cases all were measured, at least two."""
    fastest = {measured.name: measured.hqc_fastest_ms for measured in found}
    sizes = list(axis.cases)
    ms = [fastest[name] for name in axis.cases.values()]
    each, fixed = np.polyfit(sizes, ms, 1)
    line = fixed + each * np.array(sizes)
    off = np.abs(ms - line) / ms
    return Growth(axis.name, axis.kept, sizes, ms, float(fixed), float(each), float(off.max()))


def described(grown: Growth) -> str:
    """A growth in one line."""
    return f"{grown.axis}: {line_of(grown)}"


def line_of(grown: Growth) -> str:
    """The line of a growth, and how far times are off it."""
    sign = "-" if grown.fixed_ms < 0 else "+"
    return (
        f"{grown.each_ms:.3g} ms each {sign} {abs(grown.fixed_ms):.2g} ms, "
        f"at most {grown.largest_deviation:.1%} off"
    )
