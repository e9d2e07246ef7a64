"""Firing rates of every layer's neurons, by time step."""

from __future__ import annotations

import plotly.graph_objects as go

from hqc.report.chart import Findings, bars, chart, figure_html


@chart(
    40,
    "Firing rates",
    "Spikes a neuron emits in each time step, in percent; a mean over recordings.",
)
def draw(findings: Findings) -> str:
    """A heat map in grey: layers down, time steps across."""
    layers = [
        (x.counts.name, x.counts.firing_rates)
        for x in reversed(findings.profile.energy.layers)
        if x.counts.fired_per_step
    ]
    rates = [[100 * rate for rate in layer_rates] for _, layer_rates in layers]
    figure = go.Figure(
        go.Heatmap(
            z=rates,
            x=[str(t + 1) for t in range(len(rates[0]))],
            y=[name for name, _ in layers],
            colorscale="Greys",
            zmin=0,
            text=[[f"{rate:.1f}" for rate in row] for row in rates],
            texttemplate="%{text}",
            colorbar={"title": "%", "thickness": 12},
        )
    )
    figure.update_xaxes(title="time step")
    return figure_html(figure, bars(len(layers)))
