"""The growth of times as a picture: a panel an axis, times as points and the line through them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from hqc.bench.suite.growth import Growth, line_of
from hqc.pictures import save_figure


def draw_growth(grown: Sequence[Growth], path: Path) -> None:
    """Draw growths side by side, each on scales of its own that begin at 0."""
    figure = Figure((3.2 * len(grown), 3), layout="constrained")
    for axes, one in zip(figure.subplots(1, len(grown), squeeze=False)[0], grown, strict=True):
        ends = (0, one.sizes[-1])
        line = [one.fixed_ms + one.each_ms * size for size in ends]
        axes.plot(ends, line, color="#6baed6", linewidth=1.2)
        axes.scatter(one.sizes, one.ms, color="#08306b", s=22, zorder=2)
        axes.set_xticks(one.sizes)
        axes.set_xlim(0)
        axes.set_ylim(0)
        axes.set_xlabel(one.axis)
        axes.set_title(f"{one.kept}\n{line_of(one)}", fontsize=8)
        axes.grid(color="#dddddd")
        axes.set_axisbelow(True)
    figure.supylabel("ms an inference", fontsize=9)
    save_figure(figure, path)
