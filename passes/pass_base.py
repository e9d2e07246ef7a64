"""What a pass is, and the register of all of them."""

from __future__ import annotations

from dataclasses import fields
from typing import ClassVar

import onnx_ir as ir

from hqc.errors import UserError
from hqc.named import named


class Pass:
    """A step from model to model. Subclasses are frozen dataclasses; their fields are options.

    `tolerance` bounds how far, relative to the largest, an output may move when the pass is
    verified: 0 for passes on integers, which are exact.
    """

    name: ClassVar[str]
    tolerance: ClassVar[float] = 0.0

    def run(self, model: ir.Model) -> ir.Model:
        """Return the model after this step; the argument may be changed."""
        raise AssertionError(f"pass {self.name!r} does not say what it does")


_PASSES: dict[str, type[Pass]] = {}


def register(cls: type[Pass]) -> type[Pass]:
    """Make a pass known by its name; used as a decorator by the file that defines it."""
    _PASSES[cls.name] = cls
    return cls


def passes() -> dict[str, type[Pass]]:
    """Every registered pass by name."""
    return dict(_PASSES)


def find_pass(name: str, options: dict[str, str | int | float]) -> Pass:
    """The pass of that name with those options. Raises `UserError`, suggesting what exists."""
    cls = named("pass", name, _PASSES, "passes")
    defaults = {f.name: f.default for f in fields(cls)}
    if unknown := [o for o in options if o not in defaults]:
        raise UserError(
            f"pass {name!r} has no option {unknown[0]!r}",
            hint=f"its options are: {', '.join(defaults) or 'none'}",
        )
    for option, value in options.items():
        wanted = type(defaults[option])
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            raise UserError(f"pass {name!r}: option {option!r} is {_KINDS[wanted]}, not {value!r}")
    return cls(**options)


_KINDS = {int: "a whole number", float: "a number", str: "a word"}
