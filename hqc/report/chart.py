"""What a chart of the report is, and how all of them look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import plotly.graph_objects as go

from hqc.artifact import Artifact
from hqc.bench.on.place import Result
from hqc.profiling import Profile

DARK, MIDDLE, LIGHT = "#08306b", "#4a90c2", "#c6c6c6"
"""Three shades that stay apart in black and white; patterns set them further apart."""

_LINE = 26
"""Pixels of a bar."""

_NARROW, _CHARACTER = 450, 8
"""Pixels of a chart on the narrowest screens, and of a character at most."""


@dataclass(frozen=True)
class Agreement:
    """One recording: its label if it has one, and what the float and the compiled model say."""

    label: int | None
    float_class: int
    compiled_class: int
    logits_error: float


@dataclass(frozen=True)
class Findings:
    """What a report shows; `search` are the metrics of the search behind the model, if any.

    `bench` is a benchmark of the same compiled model on a device, with the times of its kernels.
    """

    artifact: Artifact
    profile: Profile
    agreement: Sequence[Agreement]
    search: Sequence[dict] = ()
    bench: Result | None = None


Draw = Callable[[Findings], str]


@dataclass(frozen=True)
class Chart:
    """A section: `draw` gives its HTML, nothing to leave it out; `about` says how to read it."""

    order: int
    title: str
    about: str
    draw: Draw


_CHARTS: list[Chart] = []


def chart(order: int, title: str, about: str) -> Callable[[Draw], Draw]:
    """Register the decorated function as a section of the report."""

    def register(draw: Draw) -> Draw:
        _CHARTS.append(Chart(order, title, about, draw))
        return draw

    return register


def charts() -> list[Chart]:
    """Every section, in the order of the page."""
    return sorted(_CHARTS, key=lambda c: c.order)


def bars(rows: int) -> int:
    """The height of a chart of so many horizontal bars, in pixels."""
    return 110 + _LINE * rows


def room_for_labels(
    values: Sequence[float], labels: Sequence[str], names: Sequence[str], charts: int = 1
) -> list[float]:
    """The range of an axis on which labels fit behind their bars, on narrow screens too.

    `names` stand before the bars; so many `charts` stand side by side.
    """
    width = (_NARROW - _CHARACTER * max(map(len, names))) / charts
    label = _CHARACTER * (1 + max(map(len, labels)))
    return [0, max(values) / (1 - min(label / max(width, label), 0.75))]


def figure_html(figure: go.Figure, height: int) -> str:
    """A figure as a part of the page: as wide as its column, axes that leave room for labels."""
    figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 10, "r": 10, "t": 40, "b": 10},
        font={"size": 13, "color": "#111"},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        bargap=0.25,
    )
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True, ticklabelstandoff=4)
    return figure.to_html(
        include_plotlyjs=False,
        full_html=False,
        config={"responsive": True, "displaylogo": False, "displayModeBar": False},
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table; every column but the first is of numbers."""
    head = "".join(f"<th>{escape(h)}</th>" for h in header)
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    content = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table>{content}</table></div>'
