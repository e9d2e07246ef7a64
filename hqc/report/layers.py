"""Every layer in numbers."""

from __future__ import annotations

from hqc.report.chart import Findings, chart, table


@chart(80, "Layers", "Counts of an average recording, and what the energy profile makes of them.")
def draw(findings: Findings) -> str:
    """A table."""
    rows = []
    for layer in findings.profile.energy.layers:
        counts = layer.counts
        rows.append(
            [
                counts.name,
                str(layer.precision) if counts.weights else "",
                f"{counts.weights:,}",
                "" if counts.rate is None else f"{counts.rate:.3f}",
                f"{counts.operations:,.0f}",
                f"{counts.updates:,.0f}",
                f"{layer.energy.storage / 8:,.0f}",
                f"{layer.energy.total / 1e3:,.1f}",
                f"{layer.fp32.total / 1e3:,.1f}",
            ]
        )
    header = ["layer", "choice", "weights", "input rate", "operations", "neuron updates"]
    return table([*header, "storage B", "energy nJ", "fp32 nJ"], rows)
