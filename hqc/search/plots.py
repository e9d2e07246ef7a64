"""Pictures of a search, as SVG in its folder: SpikeHQ's figures 3 and 5, QSViT's sensitivities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hqc.pictures import save_figure
from hqc.post_training.network import Choice

_ROW, _WIDTH = 0.28, 9.0
"""Inches: of a layer's row, and of a picture."""

_NEAR = 0.4
"""Percent of energy and of accuracy by which two points of one label differ at most."""

Weights = Mapping[str, np.ndarray]


def _layers_axis(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()


def draw_probabilities(metrics: Sequence[dict], path: Path) -> None:
    """How the choices' probabilities evolved, a panel a layer (SpikeHQ, figure 3)."""
    epochs = [m["probabilities"] for m in metrics if "probabilities" in m]
    if not epochs:
        return
    names, across = list(epochs[0]), 4
    down = -(-len(names) // across)
    figure = Figure((_WIDTH, 1.6 * down + 0.6), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        for choice in epochs[0][name]:
            axes.plot([e[name][choice] for e in epochs], label=choice, linewidth=1.2)
        axes.set_title(name, fontsize=7)
        axes.set_ylim(0, 1)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    free = max(range(len(names)), key=lambda i: len(epochs[0][names[i]]))
    figure.legend(*panels[free].get_legend_handles_labels(), loc="outside lower center", ncols=8)
    figure.supxlabel("epoch of the search", fontsize=9)
    figure.supylabel("probability", fontsize=9)
    save_figure(figure, path)


def draw_weights(before: Weights, after: Weights, recipe: Mapping[str, Choice], path: Path) -> None:
    """Weights of each layer before and after: median, quartiles, 5th and 95th percentile.

    SpikeHQ, figure 5; what lies beyond the percentiles is left out.
    """
    names = list(after)
    figure = Figure((_WIDTH, 1 + _ROW * len(names)), layout="constrained")
    for axes, weights, title in zip(
        figure.subplots(1, 2, sharey=True), (before, after), ("float", "quantized"), strict=True
    ):
        axes.boxplot(
            [weights[name] for name in names],
            orientation="horizontal",
            positions=range(len(names)),
            whis=(5, 95),
            showfliers=False,
        )
        axes.set_title(title)
        axes.set_xlabel("weight")
        _layers_axis(axes, [f"{name}  {recipe[name]}" for name in names])
    save_figure(figure, path)


def draw_sensitivity(sensitivity: Mapping[str, Mapping[Choice, float]], path: Path) -> None:
    """Accuracy that each layer alone loses at each precision, as a heat map."""
    names = list(sensitivity)
    choices = max((list(row) for row in sensitivity.values()), key=len)
    table = np.array([[sensitivity[n].get(c, np.nan) for c in choices] for n in names])
    figure = Figure((5, 1.2 + _ROW * len(names)), layout="constrained")
    axes = figure.subplots()
    shades = axes.imshow(100 * table, aspect="auto", cmap="Blues", vmin=0)
    for row, column in np.ndindex(table.shape):
        if not np.isnan(table[row, column]):
            lost = 100 * table[row, column]
            dark = lost > 0.6 * 100 * np.nanmax(table)
            axes.text(
                column, row, f"{lost:.1f}", ha="center", va="center", fontsize=7,
                color="white" if dark else "black",
            )  # fmt: skip
    axes.set_xticks(range(len(choices)), choices)
    _layers_axis(axes, names)
    figure.colorbar(shades, label="accuracy lost, %")
    save_figure(figure, path)


def draw_pareto(rows: Sequence[Mapping], path: Path) -> None:
    """Accuracy against energy, a point a run, near ones with one label (SpikeHQ, figure 4)."""
    figure = Figure((7, 4), layout="constrained")
    axes = figure.subplots()
    labels: dict[tuple[float, float], list[str]] = {}
    for row in rows:
        point = (100 * row["energy"], 100 * row["accuracy"])
        axes.scatter(*point, color="#08306b", s=22)
        near = (p for p in labels if np.allclose(p, point, rtol=0, atol=_NEAR))
        labels.setdefault(next(near, point), []).append(Path(row["run"]).name)
    for point, names in labels.items():
        axes.annotate(
            ", ".join(names), point, textcoords="offset points", xytext=(4, 4), fontsize=8,
            rotation=30, rotation_mode="anchor",
        )  # fmt: skip
    axes.set_xlabel("energy, % of the float network's")
    axes.set_ylabel("accuracy, %")
    axes.margins(0.08, 0.3)
    axes.grid(color="#dddddd")
    axes.set_axisbelow(True)
    save_figure(figure, path)
