"""What elementwise ops make of one unknown, where it is known which side of 0 a number is on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import onnx_ir as ir

from hqc.passes.graph import constant


class Side(IntEnum):
    """Where a number is."""

    BELOW, AT, ABOVE = -1, 0, 1


Number = Any
"""A number, or an array of them: numpy's types of the two do not mix in annotations."""


@dataclass(frozen=True)
class Affine:
    """`constant` plus the sum of `terms`, each a value times its coefficient.

    Coefficients and constants are numbers, or arrays that broadcast against the values.
    """

    constant: Number
    terms: Mapping[ir.Value, Number] = field(default_factory=dict)

    @property
    def is_constant(self) -> bool:
        """Whether nothing is unknown."""
        return not self.terms

    def of(self, value: ir.Value) -> Number:
        """The coefficient of a value."""
        return self.terms.get(value, np.float64(0))

    def plus(self, other: Affine, factor: Number = 1.0) -> Affine:
        """The sum with a multiple of another."""
        terms = dict(self.terms)
        for value, coefficient in other.terms.items():
            made = terms.pop(value, 0.0) + factor * coefficient
            if made.any() if isinstance(made, np.ndarray) else made:
                terms[value] = made
        return Affine(self.constant + factor * other.constant, terms)

    def times(self, factor: Number) -> Affine:
        """The product with a number."""
        return Affine(np.float64(0)).plus(self, factor)

    def multiple_of(self, other: Affine) -> float | None:
        """The number that it is the other's multiple by; None where it is none."""
        ratios = [c / other.terms[v] if v in other.terms else np.nan for v, c in self.terms.items()]
        if not ratios or len(ratios) != len(other.terms) or not np.isfinite(ratios[0]).all():
            return None
        ratio = np.reshape(ratios[0], -1)[0]
        rest = self.plus(other, -ratio)
        return float(ratio) if rest.is_constant and not np.any(rest.constant) else None


VIEWS = {"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Gather", "Slice", "Split"}
"""Ops that give all their numbers in order, where they give as many as they read."""

_COMPARISONS = {
    "Greater": lambda side: side > 0,
    "GreaterOrEqual": lambda side: side >= 0,
    "Less": lambda side: side < 0,
    "LessOrEqual": lambda side: side <= 0,
    "Equal": lambda side: side == 0,
}

_OF_NUMBERS: dict[str, Callable] = {
    "Abs": np.abs,
    "And": np.logical_and,
    "Ceil": np.ceil,
    "Floor": np.floor,
    "Max": np.maximum,
    "Min": np.minimum,
    "Not": np.logical_not,
    "Or": np.logical_or,
    "Relu": lambda x: np.maximum(x, 0),
    "Sign": np.sign,
}
"""Ops that are evaluated where all that they read is known."""

_AFFINE = {"Add", "Sub", "Mul", "Div", "Neg", "Cast", "CastLike", "Where"}

_KEPT = {*VIEWS, "Cast", "CastLike"}
"""Ops that give the numbers that they read."""

ELEMENTWISE = {*_COMPARISONS, *_OF_NUMBERS, *_AFFINE, *VIEWS}


def is_elementwise(node: ir.Node | None) -> bool:
    """Whether each number that a node gives is of one number of each operand, in order."""
    if node is None or node.domain or node.op_type not in ELEMENTWISE:
        return False
    return node.op_type not in VIEWS or keeps_all(node)


def keeps_all(node: ir.Node) -> bool:
    """Whether a node gives as many numbers as it reads."""
    x = node.inputs[0]
    outputs = [v for v in node.outputs if v.shape is not None]
    return x.shape is not None and any(_size(v) == _size(x) for v in outputs)


def _size(value: ir.Value) -> int:
    return int(np.prod(value.shape.numpy(), dtype=np.int64))


class Evaluation:
    """Values as affine functions of what is not known, while `gap` is on one side of 0.

    `unknown` says which values are not looked into.
    """

    def __init__(self, gap: Affine, side: Side, unknown: Callable[[ir.Value], bool]) -> None:
        self._gap, self._side, self._unknown = gap, side, unknown
        self._known: dict[ir.Value, Affine | None] = {}

    def of(self, value: ir.Value) -> Affine | None:
        """The value; None where it is no affine function."""
        stack = [value]  # a call for each would be too deep where steps are many
        while stack:
            top = stack[-1]
            if top in self._known:
                stack.pop()
                continue
            read = self._read(top)
            unknown = [v for v in read if v not in self._known]
            if unknown:
                stack += reversed(unknown)
            else:
                self._known[top] = self._evaluate(top, [self._known[v] for v in read])
        return self._known[value]

    def _read(self, value: ir.Value) -> Sequence[ir.Value]:
        """What a value is evaluated of; nothing where it is constant or not looked into."""
        node = value.producer()
        if value.const_value is not None or self._unknown(value) or not is_elementwise(node):
            return ()
        if node.op_type in _KEPT:
            return node.inputs[:1]
        return [v for v in node.inputs if v is not None]

    def _evaluate(self, value: ir.Value, operands: list[Affine | None]) -> Affine | None:
        array = constant(value)
        if array is not None:
            return Affine(narrowed(array)) if array.dtype.kind in "fiub" else None
        if not operands:
            return Affine(np.float64(0), {value: np.float64(1)})
        known = [x for x in operands if x is not None]
        if len(known) < len(operands):
            return None
        node = value.producer()
        return known[0] if node.op_type in _KEPT else self._apply(node, known)

    def _apply(self, node: ir.Node, operands: list[Affine]) -> Affine | None:
        op_type, a = node.op_type, operands[0]
        b = operands[1] if len(operands) > 1 else None
        if op_type == "Where":
            if not a.is_constant or np.size(a.constant) > 1:
                return None
            return operands[1] if a.constant else operands[2]
        if op_type == "Neg":
            return a.times(np.float64(-1))
        if op_type in ("Add", "Sub"):
            return a.plus(b, -1.0 if op_type == "Sub" else 1.0)
        if op_type == "Mul":
            return a.times(b.constant) if b.is_constant else self._product(b, a)
        if op_type == "Div":
            return a.times(1 / b.constant) if b.is_constant and np.all(b.constant) else None
        if op_type in _COMPARISONS:
            side = self._side_of(a.plus(b, -1.0))
            return None if side is None else Affine(np.float64(_COMPARISONS[op_type](side)))
        if op_type == "Sign" and not a.is_constant:
            side = self._side_of(a)
            return None if side is None else Affine(np.float64(side))
        if all(o.is_constant for o in operands) and len(operands) <= 2:
            made = _OF_NUMBERS[op_type](*(o.constant for o in operands))
            return Affine(np.asarray(made, np.float64))
        return None

    @staticmethod
    def _product(factor: Affine, other: Affine) -> Affine | None:
        return factor.times(other.constant) if other.is_constant else None

    def _side_of(self, x: Affine) -> int | None:
        """On which side of 0 a number is, that is a multiple of the gap or constant."""
        if x.is_constant:
            signs = np.unique(np.sign(x.constant))
            return int(signs[0]) if signs.size == 1 else None
        ratio = x.multiple_of(self._gap)
        return None if ratio is None else int(np.sign(ratio)) * int(self._side)


def narrowed(array: np.ndarray) -> Number:
    """One number in place of an array that holds nothing else, as float64."""
    first = array.reshape(-1)[:1]
    same = array.size > 0 and bool(np.all(array == first))
    return np.float64(first[0]) if same else array.astype(np.float64)
