"""What a suite is: cases by name, each a model file that is made or found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import hqc
from hqc.errors import UserError
from hqc.named import named

Make = Callable[[Path], Path]
"""Makes a model file in an empty folder, its recordings in a folder `sample` beside; the file."""


@dataclass(frozen=True)
class Case:
    """A model of a suite: its name, what it is, and how its file comes about."""

    name: str
    about: str
    make: Make


@dataclass(frozen=True)
class Axis:
    """What alone grows from case to case: sizes, in order, each with the name of its case.

    `kept` says what stays as it is.
    """

    name: str
    kept: str
    cases: Mapping[int, str]


@dataclass(frozen=True)
class Suite:
    """Cases that are measured one after the other.

    `peers` are those that they are compared with unless others are named. A straight line is put
    through the times along each of `axes`.
    """

    name: str
    cases: Sequence[Case]
    peers: Sequence[str] = ()
    axes: Sequence[Axis] = ()

    def chosen(self, names: Sequence[str]) -> list[Case]:
        """The cases of these names, or all. Raises `UserError`, suggesting the nearest."""
        by_name = {case.name: case for case in self.cases}
        what = f"model of the suite {self.name}"
        return [named(what, name, by_name, "its models") for name in names or by_name]

    def axes_through(self, cases: Sequence[Case]) -> list[Axis]:
        """The axes that at least three of these cases lie on, with these alone.

        Through two points there always is a line.
        """
        names = {case.name for case in cases}
        kept = [
            replace(axis, cases={n: name for n, name in axis.cases.items() if name in names})
            for axis in self.axes
        ]
        return [axis for axis in kept if len(axis.cases) > 2]


def examples() -> Path:
    """The examples of a checkout, which are not installed with the package. Raises `UserError`."""
    folder = Path(hqc.__file__).parents[1] / "examples"
    if not (folder / "cifar10" / "model.onnx").exists():
        raise UserError(
            "the suite runs the trained networks in examples/, which are not installed with hqc",
            hint="run it in a checkout of hqc's source, installed by pip install --editable .",
        )
    return folder
