"""What each kernel takes, against the least that it could."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from hqc.report.chart import DARK, LIGHT, Findings, bars, chart, figure_html, room_for_labels


@chart(
    50,
    "Time per kernel, against its floor",
    "The bar is measured: milliseconds, or instructions where the machine is emulated. The mark is "
    "the floor: adding the weights of every spike as bytes, as fast as the machine can, or reading "
    "the weights once. A grey bar beside a device's time is the estimate for its target.",
)
def draw(findings: Findings) -> str:
    """Bars with marks: of the device that was benchmarked, if one was, then of this machine."""
    profile = findings.profile
    kernels = list(reversed(profile.kernels))
    names = [k.name for k in kernels]
    drawn = ""
    if findings.bench:
        taken = {k["name"]: k["ms"] for k in findings.bench.kernels}
        what = f"measured on {findings.bench.device.get('cpu') or findings.bench.place}, ms"
        floors, estimates = [k.floor_ms for k in kernels], [k.estimated_ms for k in kernels]
        drawn = _bars(names, [taken[name] for name in names], floors, what, "ms", estimates)
    if profile.milliseconds is not None:
        values, floors = [k.milliseconds for k in kernels], [k.floor_ms for k in kernels]
        return drawn + _bars(names, values, floors, "measured here, ms", "ms")
    values = [(k.instructions or 0) / 1e6 for k in kernels]
    floors = [k.floor_instructions and k.floor_instructions / 1e6 for k in kernels]
    unit = "million instructions"
    return drawn + _bars(names, values, floors, f"measured, {unit}", unit)


def _bars(
    names: Sequence[str],
    values: Sequence[float],
    floors: Sequence[float | None],
    what: str,
    unit: str,
    estimates: Sequence[float | None] = (),
) -> str:
    labels = [f"{v:.3g}" for v in values]
    figure = go.Figure()
    if any(estimates):
        figure.add_bar(
            orientation="h", x=estimates, y=names, name="estimated, ms", marker={"color": LIGHT}
        )
    figure.add_bar(
        orientation="h",
        x=values,
        y=names,
        name=what,
        marker={"color": DARK, "pattern": {"shape": "/", "fgcolor": "#fff"}},
        text=labels,
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
    longest = [*values, *(x for x in (*floors, *estimates) if x is not None)]
    figure.update_xaxes(title=unit, range=room_for_labels(longest, labels, names))
    return figure_html(figure, bars((2 if any(estimates) else 1) * len(names)))
