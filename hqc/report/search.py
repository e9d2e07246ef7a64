"""How a search came to its choices, as in SpikeHQ's figure 3."""

from __future__ import annotations

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hqc.report.chart import Findings, chart, figure_html

_STYLES = (
    ("solid", "circle"),
    ("dash", "square"),
    ("dot", "diamond"),
    ("dashdot", "x"),
    ("longdash", "triangle-up"),
    ("longdashdot", "star"),
)


@chart(
    75,
    "Search",
    "Probability of each choice after every epoch, a mean over the layers that were free; "
    "and the loss that choices follow, of task and hardware together.",
)
def draw(findings: Findings) -> str:
    """Lines told apart by dash and mark; nothing without a search."""
    epochs = [m for m in findings.search if m["stage"] == "search"]
    if not epochs:
        return ""
    free = [name for name, shares in epochs[0]["probabilities"].items() if len(shares) > 1]
    choices = dict.fromkeys(c for name in free for c in epochs[0]["probabilities"][name])
    x = [m["epoch"] + 1 for m in epochs]
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.12)
    for index, choice in enumerate(choices):
        dash, symbol = _STYLES[index % len(_STYLES)]
        shares = [
            sum(m["probabilities"][name].get(choice, 0.0) for name in free) / len(free)
            for m in epochs
        ]
        figure.add_scatter(
            x=x,
            y=shares,
            name=choice,
            mode="lines+markers",
            line={"dash": dash, "color": "#111"},
            marker={"symbol": symbol, "size": 8},
            row=1,
            col=1,
        )
    losses = go.Scatter(
        x=x, y=[m["choice_loss"] for m in epochs], line={"color": "#111"}, showlegend=False
    )
    figure.add_trace(losses, row=1, col=2)
    figure.update_xaxes(title="epoch")
    figure.update_yaxes(title="probability", col=1)
    figure.update_yaxes(title="loss", col=2)
    return figure_html(figure, 360)
