"""Accuracy by class, and how far compiled code agrees with the model in float arithmetic."""

from __future__ import annotations

import plotly.graph_objects as go

from hqc.report.chart import DARK, LIGHT, Findings, chart, figure_html


@chart(
    70,
    "Accuracy and agreement",
    "Recordings of each class that are classified rightly: by the model in float arithmetic, with "
    "its quantizers, and by the compiled code.",
)
def draw(findings: Findings) -> str:
    """Bars by class, and a line on agreement."""
    agreement = findings.agreement
    same = sum(a.float_class == a.compiled_class for a in agreement)
    error = max(a.logits_error for a in agreement)
    line = (
        f"<p>{same} of {len(agreement)} recordings get the same class from both; logits differ by "
        f"at most {error:.2g}.</p>"
    )
    labels = sorted({a.label for a in agreement if a.label is not None})
    if not labels:
        return f"{line}<p>These recordings have no labels.</p>"
    figure = go.Figure()
    for name, field, color, pattern in (
        ("float", "float_class", LIGHT, ""),
        ("compiled", "compiled_class", DARK, "/"),
    ):
        figure.add_bar(
            name=name,
            x=[str(label) for label in labels],
            y=[
                sum(getattr(a, field) == a.label for a in agreement if a.label == label)
                for label in labels
            ],
            marker={"color": color, "pattern": {"shape": pattern, "fgcolor": "#fff"}},
        )
    figure.update_xaxes(title="class", type="category")
    figure.update_yaxes(title="right")
    return line + figure_html(figure, 320)
