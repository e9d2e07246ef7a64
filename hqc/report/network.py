"""The network as a drawing: every layer with the quantizer that was chosen for it."""

from __future__ import annotations

from html import escape

from hqc.report.chart import Findings, chart

_WIDTH, _HEIGHT, _ACROSS, _DOWN = 190, 40, 206, 64
_SHADES = {"fp32": "#ffffff", "16": "#f0f0f0", "12": "#e4e4e4", "8": "#d6e3f0", "4": "#9dbfdd"}
_DARKEST = "#4a80b0"


@chart(
    10,
    "Network and choices",
    "Every kernel, from the input down. u: uniform codes, l: powers of two; the darker, the fewer "
    "bits.",
)
def draw(findings: Findings) -> str:
    """Boxes in rows by the longest way from the input, lines along the data."""
    kernels = {k["name"]: k for k in findings.artifact.manifest["kernels"]}
    choices = {k.name: k.precision for k in findings.profile.kernels}
    row: dict[str, int] = {}
    for name, kernel in kernels.items():
        row[name] = max((row[i] + 1 for i in kernel["inputs"]), default=0)
    rows = [[n for n in kernels if row[n] == r] for r in range(max(row.values()) + 1)]
    widest = max(map(len, rows))
    at = {
        name: ((widest - len(names)) / 2 * _ACROSS + i * _ACROSS + _WIDTH / 2 + 8, r * _DOWN + 8)
        for r, names in enumerate(rows)
        for i, name in enumerate(names)
    }
    lines = [
        _line(at[i], at[name], row[name] - row[i], widest)
        for name, kernel in kernels.items()
        for i in kernel["inputs"]
    ]
    boxes = [_box(name, kernel["op"], choices[name], at[name]) for name, kernel in kernels.items()]
    width, height = widest * _ACROSS + 60, len(rows) * _DOWN
    return (
        f'<div class="wide"><svg class="network" style="max-width: {width}px" '
        f'viewBox="0 0 {width} {height}" role="img">{"".join(lines + boxes)}</svg></div>'
    )


def _line(start: tuple[float, float], end: tuple[float, float], rows: int, widest: int) -> str:
    """A line to the next row; one that skips rows goes around the boxes, on the right."""
    (x1, y1), (x2, y2) = start, end
    if rows == 1:
        path = f"M{x1} {y1 + _HEIGHT} L{x2} {y2}"
    else:
        side = widest * _ACROSS + 4 + 10 * (rows % 5)
        middle, end_x = y1 + _HEIGHT / 2, x2 + _WIDTH / 2
        path = f"M{x1 + _WIDTH / 2} {middle} H{side} V{y2 + _HEIGHT / 2} H{end_x}"
    return f'<path d="{path}" fill="none" stroke="#777"/>'


def _box(name: str, op: str, choice: str | None, at: tuple[float, float]) -> str:
    x, y = at
    shade = "#ffffff" if choice is None else _SHADES.get(choice.rstrip("ul"), _DARKEST)
    edge = "1" if choice is None else "2"
    label = f"{op}  {choice}" if choice else op
    return (
        f'<rect x="{x - _WIDTH / 2}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="5" '
        f'fill="{shade}" stroke="#111" stroke-width="{edge}"/>'
        f'<text x="{x}" y="{y + 17}" text-anchor="middle">{escape(name)}</text>'
        f'<text x="{x}" y="{y + 32}" text-anchor="middle" font-weight="bold">{escape(label)}</text>'
    )
