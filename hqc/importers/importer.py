"""What an importer is: a format that is recognised, and read as an ONNX model of the dialect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import onnx

from hqc.errors import UserError
from hqc.named import named


@dataclass(frozen=True)
class Asked:
    """What a user says of a file besides: `time_steps` in a run, `dt` seconds each.

    `reset` is what a spike does to a potential: "value" sets it, "subtract" takes the threshold.
    """

    time_steps: int | None = None
    dt: float | None = None
    reset: str | None = None


Read = Callable[[Path, Asked], onnx.ModelProto]
"""Reads a file as a model in ops of the dialect and of standard ONNX. Raises `UserError`."""


@dataclass(frozen=True)
class Importer:
    """A format: what it is, which files are of it, which fields of `Asked` it takes."""

    name: str
    about: str
    recognizes: Callable[[Path], bool]
    takes: tuple[str, ...]
    _read: Read

    def read(self, path: Path, asked: Asked) -> onnx.ModelProto:
        """The file's model. Raises `UserError` for what is asked that says nothing here."""
        for field in fields(Asked):
            if getattr(asked, field.name) is not None and field.name not in self.takes:
                option = field.name.replace("_", "-")
                raise UserError(
                    f"{path}: --{option} says nothing of {self.about}", hint="leave it out"
                )
        return self._read(path, asked)


_CHECKPOINTS = (".bin", ".ckpt", ".pt", ".pth", ".safetensors", ".tar")

_IMPORTERS: dict[str, Importer] = {}


def importer(
    name: str, about: str, recognizes: Callable[[Path], bool], takes: tuple[str, ...] = ()
) -> Callable[[Read], Read]:
    """Register the decorated function as what reads a format."""

    def register(function: Read) -> Read:
        _IMPORTERS[name] = Importer(name, about, recognizes, takes, function)
        return function

    return register


def importers() -> dict[str, Importer]:
    """Every importer, by name."""
    return dict(sorted(_IMPORTERS.items()))


def find_importer(path: Path, name: str | None = None) -> Importer:
    """The importer of that name, or the one that recognises a file. Raises `UserError`."""
    known = ", ".join(importers())
    if name is not None:
        return named("format", name, _IMPORTERS, "formats")
    if path.suffix in _CHECKPOINTS:
        raise UserError(
            f"{path} is a checkpoint, which holds a network's weights and not the network",
            hint=f"hqc export FILE.py:FUNCTION --checkpoint {path.name}",
        )
    found = [i for i in importers().values() if i.recognizes(path)]
    if not found:
        raise UserError(
            f"{path} is of no format that hqc knows by its name",
            hint=f"say which it is with --from: {known}",
        )
    return found[0]
