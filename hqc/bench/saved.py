"""Results of benchmarks on disk, and two of them compared."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from hqc.atomic_files import replacing
from hqc.bench.on.place import Result
from hqc.errors import UserError
from hqc.regular_files import read_file

_LARGEST_FILE = 64 << 20
_KERNELS = 10
"""Kernels that a comparison shows: those whose figures changed most."""

_UNITS = ("instructions", "estimated_ms", "ms")
"""What kernels are measured in; the last that both results have is compared."""

Pair = tuple[float, float]


def check_savable(path: Path, results: int) -> None:
    """Raise `UserError` where so many results cannot be saved in `path`, a folder or FILE.json."""
    if path.suffix != ".json":
        return
    if results > 1:
        raise UserError(f"--save: {results} results do not fit one file", hint="name a folder")
    if path.exists():
        raise UserError(f"--save: {path} exists", hint="name another file, or a folder")


def save(result: Result, path: Path) -> Path:
    """Write a result to FILE.json, or to a file of its own in a folder; the file."""
    if path.suffix != ".json":
        place = re.sub(r"\W+", "-", result.place).strip("-")
        stem = f"{result.model}-{place}-{re.sub(r'[-:]|[+]00:00', '', result.time)}"
        names = (f"{stem}{f'-{n}' if n > 1 else ''}.json" for n in count(1))
        path = next(file for name in names if not (file := path / name).exists())
    check_savable(path, 1)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(result.as_dict(), indent=2) + "\n")
    return path


def load(path: Path) -> Result:
    """A result that was saved. Raises `UserError` for files that hold none."""
    try:
        result = Result(**json.loads(read_file(path, _LARGEST_FILE)))
        figures = [*_figures(result).values(), result.equal, result.recordings]
        for unit in _UNITS:
            figures += _of_kernels(result, unit).values()
        known = all(type(figure) in (int, float, type(None)) for figure in figures)
        texts = [result.model, result.model_sha256, result.target, result.place]
        texts += [kernel["name"] for kernel in result.kernels]
        known = known and isinstance(result.device, dict) and set(map(type, texts)) == {str}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        known = False
    if not known:
        raise UserError(
            f"{path} holds no result of a benchmark", hint="hqc bench --on PLACE --save FILE.json"
        )
    return result


@dataclass(frozen=True)
class Comparison:
    """Two results: what is not the same of them, and figures that both have, in pairs.

    `kernels` holds those whose figures changed most, by name.
    """

    differs: Mapping[str, tuple[object, object]]
    figures: Mapping[str, Pair]
    kernels: Mapping[str, Pair]


def compare(a: Result, b: Result) -> Comparison:
    """Set two results side by side."""
    said = [_conditions(result) for result in (a, b)]
    keys = [key for key in {**said[0], **said[1]} if said[0].get(key) != said[1].get(key)]
    figures = both(_figures(a), _figures(b))
    kernels: dict[str, Pair] = {}
    for unit in _UNITS:
        kernels = both(_of_kernels(a, unit), _of_kernels(b, unit)) or kernels
    return Comparison(
        {key: (said[0].get(key), said[1].get(key)) for key in keys},
        figures,
        most_changed(kernels),
    )


def most_changed(kernels: Mapping[str, Pair]) -> dict[str, Pair]:
    """The few kernels whose figures changed most, those first."""
    changed = sorted(kernels, key=lambda name: -abs(kernels[name][1] - kernels[name][0]))
    return {name: kernels[name] for name in changed[:_KERNELS]}


def _of_kernels(result: Result, unit: str) -> dict[str, Any]:
    """The kernels' figures in a unit, by name."""
    return {str(kernel["name"]): kernel[unit] for kernel in result.kernels if unit in kernel}


def _conditions(result: Result) -> dict[str, object]:
    device = {f"device {key}": value for key, value in result.device.items()}
    fields = ("model", "model_sha256", "hqc", "compiler", "target", "place", "recordings")
    measured = ("device clock_mhz", "device temperature")
    return {
        **{name: getattr(result, name) for name in fields},
        **{key: value for key, value in device.items() if key not in measured},
    }


def _figures(result: Result) -> dict[str, float | None]:
    return {
        "ms median": result.median_ms,
        "ms fastest": result.fastest_ms,
        **{f"ms, {part} %": ms for part, ms in result.percentiles_ms.items()},
        "ms init": result.init_ms,
        "ms estimated": result.estimated_ms,
        "instructions": result.instructions,
        "bytes at most": result.peak_memory_bytes,
        **{f"misses {name}": count for name, count in result.cache_misses.items()},
        **{f"instructions {name}": peer["instructions"] for name, peer in result.peers.items()},
    }


def both(a: Mapping[str, float | None], b: Mapping[str, float | None]) -> dict[str, Pair]:
    """What both have, in the order of the first."""
    return {
        key: (value, other)
        for key, value in a.items()
        if value is not None and (other := b.get(key)) is not None
    }
