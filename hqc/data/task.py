"""What a network is trained for: recordings with labels, and how they are varied."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from hqc.errors import UserError
from hqc.named import nearest


class Frames(Protocol):
    """Frames of n recordings: a tensor [n, T, C, H, W] of any number type, or what is indexed so.

    `frames[chosen]`, with a slice or indices, is a tensor.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, chosen: slice | Tensor) -> Tensor: ...


Labelled = tuple[Frames, Tensor]
"""Frames of n recordings, and their classes [n]."""


@dataclass(frozen=True)
class Part:
    """Some of the recordings of frames, without a copy."""

    frames: Frames
    members: Tensor

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, chosen: slice | Tensor) -> Tensor:
        return self.frames[self.members[chosen]]


@dataclass(frozen=True)
class FileFrames:
    """Frames read from files whenever they are asked for; `read` gives one recording's [T, ...]."""

    files: Sequence[Path]
    read: Callable[[Path], np.ndarray]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, chosen: slice | Tensor) -> Tensor:
        indices = torch.arange(len(self))[chosen].tolist()
        return torch.from_numpy(np.stack([self.read(self.files[i]) for i in indices]))


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


Load = Callable[[Path, int], Task]


@dataclass(frozen=True)
class Loader:
    """How a dataset is read, and into how many time steps where nobody says otherwise."""

    load: Load
    time_steps: int


_LOADERS: dict[str, Loader] = {}


def loader(name: str, time_steps: int) -> Callable[[Load], Load]:
    """Register the decorated function as the loader of a dataset."""

    def register(function: Load) -> Load:
        _LOADERS[name] = Loader(function, time_steps)
        return function

    return register


def load_task(text: str, time_steps: int | None = None) -> Task:
    """The task behind `NAME:PATH`, e.g. `nmnist:data/`. Raises `UserError`."""
    package = importlib.import_module("hqc.data")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"hqc.data.{module.name}")
    name, _, path = text.partition(":")
    if name not in _LOADERS or not path:
        raise UserError(
            f"--data {text!r} names no dataset{nearest(name, _LOADERS)}",
            hint=f"say NAME:PATH; datasets are: {', '.join(sorted(_LOADERS))}",
        )
    if not Path(path).is_dir():
        raise UserError(f"--data {text!r}: there is no folder {path}")
    found = _LOADERS[name]
    return found.load(Path(path), time_steps or found.time_steps)
