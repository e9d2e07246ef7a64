"""Energy and storage by part of the network, before and after, as in SpikeHQ's figure 4."""

from __future__ import annotations

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hqc.energy.estimate import Part
from hqc.report.chart import DARK, LIGHT, Findings, bars, chart, figure_html, room_for_labels


def _before_and_after(parts: dict[str, Part]) -> go.Figure:
    names = list(parts)[::-1]
    figure = make_subplots(cols=2, shared_yaxes=True, horizontal_spacing=0.08)
    columns = (
        ("energy", "fp32_energy", 1e6, "energy, µJ"),
        ("storage", "fp32_storage", 8 * 1024, "storage, KiB"),
    )
    for column, (after, before, scale, title) in enumerate(columns, 1):
        drawn = [getattr(part, a) / scale for part in parts.values() for a in (after, before)]
        labels = [f"{value:,.3g}" for value in drawn]
        figure.update_xaxes(title=title, col=column, range=room_for_labels(drawn, labels, names, 2))
        for attribute, label, color, pattern in (
            (after, "quantized", DARK, "/"),
            (before, "fp32", LIGHT, ""),
        ):
            values = [getattr(parts[name], attribute) / scale for name in names]
            figure.add_bar(
                row=1,
                col=column,
                orientation="h",
                name=label,
                legendgroup=label,
                showlegend=column == 1,
                x=values,
                y=names,
                marker={"color": color, "pattern": {"shape": pattern, "fgcolor": "#fff"}},
                text=[f"{v:,.3g}" for v in values],
                textposition="outside",
                cliponaxis=False,
            )
    figure.update_layout(barmode="group", legend_traceorder="reversed")
    return figure


@chart(
    20,
    "Energy and storage, before and after",
    "By tokenizer, self-attention, MLP and head; before is the same network with 32-bit floats, at "
    "the same firing rates.",
)
def parts(findings: Findings) -> str:
    """The parts of the network."""
    groups = findings.profile.energy.groups
    chosen = {name: part for name, part in groups.items() if "." not in name}
    return figure_html(_before_and_after(chosen), bars(2 * len(chosen)))


@chart(
    30,
    "Inside self-attention",
    "Query, key, value and output projections, and the products of spikes between them.",
)
def attention(findings: Findings) -> str:
    """The parts of attention."""
    groups = findings.profile.energy.groups
    chosen = {n.partition(".")[2]: p for n, p in groups.items() if n.startswith("attention.")}
    if not chosen:
        return "<p>This network has no attention.</p>"
    order = [n for n in ("q", "k", "v", "output", "product") if n in chosen]
    return figure_html(_before_and_after({n: chosen[n] for n in order}), bars(2 * len(order)))
