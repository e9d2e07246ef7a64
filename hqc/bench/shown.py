"""Benchmarks as text: one result, a table of many, two compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hqc.bench.devices import Outcome
from hqc.bench.on.place import Result
from hqc.bench.saved import Comparison

_COLUMNS: dict[str, Callable[[Result], str]] = {
    "processor": lambda r: str(r.device.get("cpu") or ""),
    "target": lambda r: r.target,
    "ms median": lambda r: _number(r.median_ms),
    "ms 90 %": lambda r: _number(r.percentiles_ms.get("90")),
    "ms fastest": lambda r: _number(r.fastest_ms),
    "instructions": lambda r: _number(r.instructions),
    "ms estimated": lambda r: _number(r.estimated_ms),
    "MiB at most": lambda r: _mebibytes(r) or "",
    "logits equal": lambda r: f"{r.equal}/{r.recordings}",
}


def shown(result: Result) -> str:
    """A result, and what is known of its device and kernels, line by line."""
    device = result.device
    machine = ", ".join(str(device[key]) for key in ("machine", "cpu") if device.get(key))
    lines = [f"{result.model} for {result.target} on {result.place}"]
    lines += _lines("device", machine)
    lines += _lines("logits equal", f"{result.equal}/{result.recordings}")
    if result.median_ms is not None:
        steady = {True: ", steady", False: ", not steady", None: ""}[result.steady]
        said = f"{result.median_ms:.4g} median, {_number(result.fastest_ms)} fastest"
        lines += _lines(
            "ms an inference", said + (f"; {result.runs} runs{steady}" if result.runs else "")
        )
    parts = (f"{part} %: {ms:.4g}" for part, ms in result.percentiles_ms.items())
    lines += _lines("percentiles, ms", ", ".join(parts))
    lines += _lines("init, ms", _number(result.init_ms))
    lines += _lines("estimated, ms", _number(result.estimated_ms))
    lines += _lines("instructions", result.instructions and f"{result.instructions:,}")
    misses = (f"{name} {count:,}" for name, count in result.cache_misses.items())
    lines += _lines("cache misses", ", ".join(misses))
    for name, peer in result.peers.items():
        said = f"{peer['instructions']:,} instructions, {peer['ratio']:.2f} times hqc's"
        lines += _lines(name, said)
    lines += _lines("memory at most", _mebibytes(result) and f"{_mebibytes(result)} MiB")
    for key, unit in (("clock_mhz", "MHz"), ("temperature", "°C")):
        before, after = device.get(key) or (0, 0)
        lines += _lines(key.partition("_")[0], before and f"{before:g} {unit}, then {after:g}")
    lines += _lines("throttled", device.get("throttled"))
    lines += _lines("compiled by", result.compiler)
    if result.kernels:
        measured = [_flat(kernel) for kernel in result.kernels]
        units = [unit for unit in measured[0] if any(m.get(unit) is not None for m in measured)]
        rows = [
            (*(_number(said.get(unit)) for unit in units), str(kernel["name"]))
            for said, kernel in zip(measured, result.kernels, strict=True)
        ]
        lines += ["", *aligned([(*units, "kernel"), *rows], "  ")]
    return "\n".join(lines)


def _flat(kernel: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured of a kernel, by unit."""
    found = {unit: value for unit, value in kernel.items() if not isinstance(value, dict | str)}
    for what, values in kernel.items():
        if isinstance(values, dict):
            found |= {f"{part} {what.rpartition('_')[2]}": value for part, value in values.items()}
    return found


def aligned(rows: Sequence[Sequence[str]], before: str = "") -> list[str]:
    """Rows with columns to the right, but for the last."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        before + "  ".join([*map(str.rjust, row[:-1], widths), row[-1]]).rstrip() for row in rows
    ]


def _lines(what: str, said: object) -> list[str]:
    """A line, where there is something to say."""
    return [f"  {what:16} {said}"] if said else []


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _mebibytes(result: Result) -> str:
    return f"{result.peak_memory_bytes / 2**20:.1f}" if result.peak_memory_bytes else ""


def table(outcomes: Iterable[Outcome]) -> str:
    """Outcomes as a table in Markdown, and below it, in full, why some failed.

    Columns that say nothing of any are left out.
    """
    outcomes = list(outcomes)
    results = [outcome.result for outcome in outcomes]
    columns = [("model", *(o.model for o in outcomes)), ("device", *(o.device for o in outcomes))]
    for name, cell in _COLUMNS.items():
        without = "failed" if name == "logits equal" else ""
        cells = [cell(result) if result else without for result in results]
        if any(cells):
            columns.append((name, *cells))
    rows = list(zip(*columns, strict=True))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    failed = [f"{o.model} on {o.device}: {o.error}" for o in outcomes if o.error]
    return "\n".join([*lines, *([""] if failed else []), *failed])


def compared(found: Comparison, names: Sequence[str]) -> str:
    """Two results side by side, what differs between them first."""
    lines = [f"{what} differs: {a} | {b}" for what, (a, b) in found.differs.items()]
    rows = [(*names, "ratio", "")]
    for what, (a, b) in (*found.figures.items(), *found.kernels.items()):
        rows.append((_number(a), _number(b), f"{b / a:.2f}" if a else "", what))
    return "\n".join([*lines, *aligned(rows)])
