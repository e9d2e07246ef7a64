"""What an exporter is: a format that a dialect model is written in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import onnx_ir as ir

from hqc.atomic_files import replacing
from hqc.errors import UserError
from hqc.named import named


@dataclass(frozen=True)
class Wanted:
    """What a user says of the file besides: `dt` seconds of a time step."""

    dt: float | None = None


Write = Callable[[ir.Model, Path, Wanted], None]
"""Writes a dialect model, as `load_model` gives it, to a path. Raises `UserError`.

The path is a temporary one, which takes the place of the user's when all is written.
"""


@dataclass(frozen=True)
class Exporter:
    """A format: what it is, which fields of `Wanted` it takes."""

    name: str
    about: str
    takes: tuple[str, ...]
    _write: Write

    def write(self, model: ir.Model, path: Path, wanted: Wanted) -> None:
        """Write the file, whole or not at all.

        Raises `UserError` for what the format cannot say, and for what is wanted that says nothing
        here.
        """
        for field in fields(Wanted):
            if getattr(wanted, field.name) is not None and field.name not in self.takes:
                option = field.name.replace("_", "-")
                raise UserError(
                    f"--{option} says nothing of {self.about}",
                    hint=f"leave it out of --to {self.name}",
                )
        with replacing(path) as temporary:
            self._write(model, temporary, wanted)


_EXPORTERS: dict[str, Exporter] = {}


def exporter(name: str, about: str, takes: tuple[str, ...] = ()) -> Callable[[Write], Write]:
    """Register the decorated function as what writes a format."""

    def register(function: Write) -> Write:
        _EXPORTERS[name] = Exporter(name, about, takes, function)
        return function

    return register


def exporters() -> dict[str, Exporter]:
    """Every exporter, by name."""
    return dict(sorted(_EXPORTERS.items()))


def find_exporter(name: str) -> Exporter:
    """The exporter of that name. Raises `UserError`."""
    return named("format", name, _EXPORTERS, "formats")
