"""What each kernel takes, against the least that it could."""

from __future__ import annotations

import plotly.graph_objects as go

from hqc.report.chart import DARK, Findings, bars, chart, figure_html


@chart(
    50,
    "Time per kernel, against its floor",
    "The bar is measured: milliseconds, or instructions where the machine is emulated. The mark is "
    "the floor: adding the weights of every spike as bytes, as fast as the machine can, or reading "
    "the weights once.",
)
def draw(findings: Findings) -> str:
    """Bars with marks."""
    profile = findings.profile
    kernels = list(reversed(profile.kernels))
    timed = profile.milliseconds is not None
    unit = "ms" if timed else "million instructions"
    values = [k.milliseconds if timed else (k.instructions or 0) / 1e6 for k in kernels]
    floors = [
        k.floor_ms if timed else k.floor_instructions and k.floor_instructions / 1e6
        for k in kernels
    ]
    names = [k.name for k in kernels]
    figure = go.Figure()
    figure.add_bar(
        orientation="h",
        x=values,
        y=names,
        name=f"measured, {unit}",
        marker={"color": DARK, "pattern": {"shape": "/", "fgcolor": "#fff"}},
        text=[f"{v:.3g}" for v in values],
        textposition="outside",
        cliponaxis=False,
    )
    figure.add_scatter(
        x=floors,
        y=names,
        mode="markers",
        name="floor",
        marker={"symbol": "line-ns", "size": 18, "line": {"width": 4, "color": "#d95f02"}},
    )
    figure.update_xaxes(title=unit)
    return figure_html(figure, bars(len(kernels)))
