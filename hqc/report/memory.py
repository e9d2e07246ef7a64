"""The arena over the course of an inference."""

from __future__ import annotations

import plotly.graph_objects as go

from hqc.report.chart import DARK, LIGHT, MIDDLE, Findings, chart, figure_html

_KINDS = (("activation", DARK, "/"), ("potential", MIDDLE, "x"), ("scratch", LIGHT, ""))


@chart(
    60,
    "Memory map",
    "The arena in a whole run: kernels from left to right, bytes from bottom to top; an area is as "
    "wide as it is in use.",
)
def draw(findings: Findings) -> str:
    """Rectangles: a bar for each area, from its offset up, over the kernels that use it."""
    manifest = findings.artifact.manifest
    kernels = [k["name"] for k in manifest["kernels"]]
    figure = go.Figure()
    for kind, color, pattern in _KINDS:
        areas = [a for a in manifest["areas"]["run"] if a["kind"] == kind and a["bytes"]]
        figure.add_bar(
            name=kind,
            x=[(a["first"] + min(a["last"], len(kernels) - 1)) / 2 for a in areas],
            width=[min(a["last"], len(kernels) - 1) - a["first"] + 0.96 for a in areas],
            base=[a["offset"] / 1024 for a in areas],
            y=[a["bytes"] / 1024 for a in areas],
            customdata=[[a["name"], a["bytes"]] for a in areas],
            hovertemplate="%{customdata[0]}: %{customdata[1]:,} bytes<extra></extra>",
            marker={
                "color": color,
                "line": {"color": "#111", "width": 1},
                "pattern": {"shape": pattern, "fgcolor": "#fff"},
            },
        )
    figure.update_layout(barmode="overlay")
    figure.update_xaxes(
        tickmode="array", tickvals=list(range(len(kernels))), ticktext=kernels, tickangle=-60
    )
    figure.update_yaxes(title="KiB")
    return figure_html(figure, 520)
