"""Results of suites on disk, and two of them compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from hqc.atomic_files import replacing
from hqc.bench.saved import Comparison, Pair, both, check_savable, most_changed
from hqc.errors import UserError
from hqc.regular_files import read_file

_LARGEST_FILE = 64 << 20
_FIGURES = ("hqc_ms", "floor_ms", "arena_bytes", "weight_bytes", "compile_s")
_LATER = ("code_bytes",)
"""Figures that older results lack."""


def save(said: Mapping, path: Path) -> Path:
    """Write what a suite found, as `run.as_dict` gives it, to FILE.json or into a folder; the file.

    Raises `UserError` where FILE.json exists.
    """
    if path.suffix != ".json":
        moment = said["time"].partition("+")[0].replace("-", "").replace(":", "")
        path = path / f"suite-{said['suite']}-{moment}.json"
    check_savable(path, 1)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(said, indent=2) + "\n")
    return path


def is_suite(path: Path) -> bool:
    """Whether a file is what a suite found. Raises `UserError` where it cannot be read."""
    try:
        said = json.loads(read_file(path, _LARGEST_FILE))
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and "suite" in said


def compare(a: Path, b: Path) -> Comparison:
    """Set two results of a suite side by side, model by model of those that both have.

    Raises `UserError` for files that hold none.
    """
    said = [_load(path) for path in (a, b)]
    conditions = [{"suite": s["suite"], "rounds": s["rounds"], **_flat(s["machine"])} for s in said]
    models = [{model["name"]: model for model in s["models"]} for s in said]
    shared = [name for name in models[0] if name in models[1]]
    for name in shared:
        for found, condition in zip(models, conditions, strict=True):
            condition[f"{name} model_sha256"] = found[name]["model_sha256"]
            condition[f"{name} threads"] = found[name]["threads"]
    first, second = conditions
    keys = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    figures: dict[str, Pair] = {}
    kernels: dict[str, Pair] = {}
    for name in shared:
        figures |= both(*(_figures(found[name]) for found in models))
        kernels |= both(*(_kernels(found[name]) for found in models))
    return Comparison(
        {key: (first.get(key), second.get(key)) for key in keys},
        figures,
        most_changed(kernels),
    )


def _load(path: Path) -> dict:
    """What a suite found. Raises `UserError` for files that hold nothing of the kind."""
    try:
        said = json.loads(read_file(path, _LARGEST_FILE))
        values = [said["rounds"]]
        for model in said["models"]:
            values += [*_figures(model).values(), *_kernels(model).values(), model["threads"]]
        texts = [said["suite"], *(model["model_sha256"] for model in said["models"])]
        known = {*map(type, values)} <= {int, float} and {*map(type, texts)} == {str}
        known = known and isinstance(_flat(said["machine"]), dict)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        raise UserError(
            f"{path} holds no result of a suite", hint="hqc bench --suite NAME --save FILE.json"
        )
    return said


def _figures(model: Mapping) -> dict[str, float]:
    keys = (*_FIGURES, *(key for key in _LATER if key in model))
    said = {f"{model['name']} {key}": model[key] for key in keys}
    return said | {f"{model['name']} {peer}": ms for peer, ms in model["peers_ms"].items()}


def _kernels(model: Mapping) -> dict[str, float]:
    kernels = model["kernels"]
    return {f"{model['name']} {kernel['name']}": kernel["milliseconds"] for kernel in kernels}


def _flat(machine: Mapping) -> dict[str, object]:
    """What is said of a machine, a package a key."""
    return {**machine, **machine["packages"], "packages": None}
