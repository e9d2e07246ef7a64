"""Pictures in files: the same of the same results."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from hqc.atomic_files import replacing


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure to a file, SVG or what else its name ends in."""
    # Without dates and random ids, equal results give equal files; text stays text.
    style = matplotlib.rc_context({"svg.hashsalt": "hqc", "svg.fonttype": "none"})
    with replacing(path) as file, style:
        figure.savefig(file, format=path.suffix[1:], metadata={"Date": None})
