"""What a network is trained for: recordings with labels, and how they are varied."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hqc.errors import UserError

Labelled = tuple[Tensor, Tensor]
"""Frames [n, T, C, H, W], of any number type, and classes [n]."""


def _same(frames: Tensor, _generator: torch.Generator) -> Tensor:
    return frames


@dataclass(frozen=True)
class Task:
    """Recordings to train on and to test with.

    `vary` is the augmentation: float frames [T, N, C, H, W] to the same. `preprocessing` is kept in
    exported models, see `hqc.data.recordings`.
    """

    train: Labelled
    test: Labelled
    vary: Callable[[Tensor, torch.Generator], Tensor] = _same
    preprocessing: dict | None = None


Loader = Callable[[Path], Task]

_LOADERS: dict[str, Loader] = {}


def loader(name: str) -> Callable[[Loader], Loader]:
    """Register the decorated function as the loader of a dataset."""

    def register(function: Loader) -> Loader:
        _LOADERS[name] = function
        return function

    return register


def load_task(text: str) -> Task:
    """The task behind `NAME:PATH`, e.g. `nmnist:data/`. Raises `UserError`."""
    package = importlib.import_module("hqc.data")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"hqc.data.{module.name}")
    name, _, path = text.partition(":")
    if name not in _LOADERS or not path:
        near = difflib.get_close_matches(name, _LOADERS, 1)
        raise UserError(
            f"--data {text!r} names no dataset" + (f"; did you mean {near[0]!r}?" if near else ""),
            hint=f"say NAME:PATH; datasets are: {', '.join(sorted(_LOADERS))}",
        )
    if not Path(path).is_dir():
        raise UserError(f"--data {text!r}: there is no folder {path}")
    return _LOADERS[name](Path(path))
