"""Which numbers an activation can be, where these are few: spikes, sums of them, masks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT, find_op
from hqc.dialect.quant_uniform import code_range
from hqc.frontend.foreign.constants import Constants
from hqc.passes.graph import integer

_MOST = 4096
"""Numbers that are kept in mind of one tensor."""

MOVES = {
    *("Identity", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Tile"),
    *("Slice", "Gather", "Split", "DepthToSpace", "SpaceToDepth", "Dropout"),
}
"""Ops whose first output holds nothing but numbers of their first input."""

_ALIKE = {"MaxPool", "GlobalMaxPool", "ReduceMax", "ReduceMin"}
"""Ops that choose among numbers."""

_JOINS = {"Concat", "Max", "Min"}
_BOOLS = {
    *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
    *("And", "Or", "Xor", "Not"),
}

_BINARY: dict[str, np.ufunc] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
}

_UNARY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Relu": lambda x: np.maximum(x, 0),
    "Neg": np.negative,
    "Abs": np.abs,
    "Sign": np.sign,
    "Round": np.round,
    "Floor": np.floor,
    "Ceil": np.ceil,
}

_ZERO_ONE = np.array([0, 1], np.float32)


class Levels:
    """The numbers that values of a graph can be."""

    def __init__(self, graph: ir.Graph, constants: Constants) -> None:
        self._constants = constants
        self._of: dict[ir.Value, np.ndarray] = {}
        for node in graph:
            self.add(node)

    def of(self, value: ir.Value | None) -> np.ndarray | None:
        """All numbers that a value may hold, sorted; None where they are too many to say."""
        if value is None:
            return None
        if value not in self._of and value.producer() is None and value.const_value is not None:
            self._note(value, self._constants.array(value))
        return self._of.get(value)

    def add(self, node: ir.Node) -> None:
        """Work out what a node gives, whose inputs are known."""
        found = self._ours(node) if node.domain == DIALECT else self._standard(node)
        if found is not None:
            for value in node.outputs if node.op_type == "Split" else node.outputs[:1]:
                self._note(value, found)

    def same(self, value: ir.Value, other: ir.Value) -> None:
        """Note that a new value holds what another does."""
        if other in self._of:
            self._of[value] = self._of[other]

    def _note(self, value: ir.Value, numbers: np.ndarray) -> None:
        if numbers.dtype.kind not in "fb":
            return
        numbers = np.unique(numbers.astype(np.float32))
        if numbers.size <= _MOST and np.isfinite(numbers).all():
            self._of[value] = numbers

    def _ours(self, node: ir.Node) -> np.ndarray | None:
        op = find_op(node)
        if op is None:
            return None
        if node.op_type == "LIF":
            return _ZERO_ONE
        if node.op_type == "IntegerLIF":
            return np.arange(op.attributes(node)["levels"] + 1, dtype=np.float32)
        if node.op_type != "QuantUniform" or not self._constants.is_constant(node.inputs[1]):
            return None
        attributes = op.attributes(node)
        low, high = code_range(*(attributes[n] for n in ("bits", "signed", "narrow")))
        scales = np.unique(self._constants.array(node.inputs[1]))
        if (high - low + 1) * scales.size > _MOST:
            return None
        return np.multiply.outer(np.arange(low, high + 1, dtype=np.float32), scales)

    def _standard(self, node: ir.Node) -> np.ndarray | None:
        kind = node.op_type
        if node.domain:
            return None
        if kind in _BOOLS:
            return _ZERO_ONE
        given = [self.of(v) for v in node.inputs]
        first = given[0] if given else None
        if kind == "Cast":
            to = integer(node, "to", 0)
            if to == ir.DataType.BOOL.value:
                return _ZERO_ONE
            return first if to == ir.DataType.FLOAT.value else None
        if kind == "CastLike":
            return first if node.inputs[1].dtype == ir.DataType.FLOAT else None
        if kind == "Where":
            return _all_of(given[1:])
        if kind in _JOINS:
            return _all_of(given)
        if kind == "Pad":
            filling = given[2] if len(given) > 2 and node.inputs[2] is not None else _ZERO_ONE[:1]
            return _all_of([first, filling])
        if first is None:
            return None
        if kind in MOVES | _ALIKE:
            return first
        if kind in _UNARY:
            return _UNARY[kind](first)
        if kind in _BINARY and given[1] is not None and first.size * given[1].size <= _MOST:
            return _BINARY[kind].outer(first, given[1])
        if kind == "Clip":
            return self._clipped(node, first)
        return None

    def _clipped(self, node: ir.Node, numbers: np.ndarray) -> np.ndarray | None:
        ends = [v for v in node.inputs[1:3] if v is not None]
        if not all(self._constants.is_constant(v) for v in ends):
            return None
        for value, choose in zip(node.inputs[1:3], (np.maximum, np.minimum), strict=False):
            if value is not None:
                numbers = choose(numbers, self._constants.array(value))
        return numbers


def _all_of(given: list[np.ndarray | None]) -> np.ndarray | None:
    if any(numbers is None for numbers in given):
        return None
    return np.concatenate([n.reshape(-1) for n in given])
