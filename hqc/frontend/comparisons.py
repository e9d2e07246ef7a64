"""Comparisons that are read as numbers -> LIF without a memory.

As parallel spiking neurons fire, and those that are written out by hand.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.dialect.metadata import WRITTEN
from hqc.passes.graph import add_initializer, constant

_TURNED = {"GreaterOrEqual": False, "LessOrEqual": True, "Less": False, "Greater": True}
"""Whether b - a, not a - b, is what is compared with 0."""

_NEGATED = {"Less", "Greater"}


def find_comparisons(graph: ir.Graph) -> list[tuple[ir.Value, ir.Value]]:
    """a >= b as 0 or 1, or as one of two numbers, and neurons on a - b, put before each.

    a > b is where b - a does not fire.
    """
    pairs = []
    for node in list(graph):
        numbers = _numbers(node)
        comparison = node.inputs[0].producer() if numbers else None
        if comparison is not None and _is_comparison(comparison):
            made = _Written(graph, node)
            silent, fires = numbers[::-1] if comparison.op_type in _NEGATED else numbers
            spikes = made.neurons(comparison)
            if fires - silent != 1:
                spikes = made.op("Mul", [spikes, made.number(fires - silent, "height")])
            if silent:
                spikes = made.op("Add", [spikes, made.number(silent, "base")])
            pairs.append((node.outputs[0], spikes))
    return pairs


def _numbers(node: ir.Node) -> tuple[float, float] | None:
    """What a node makes of false and true; None where that is no number each."""
    if node.domain or not node.outputs[0].shape or node.outputs[0].dtype != ir.DataType.FLOAT:
        return None
    if node.op_type == "Cast":
        return 0.0, 1.0
    if node.op_type != "Where":
        return None
    where, otherwise = (constant(v) for v in node.inputs[1:])
    if where is None or otherwise is None or where.size != 1 or otherwise.size != 1:
        return None
    return otherwise.item(), where.item()


def _is_comparison(node: ir.Node) -> bool:
    """Whether it compares floats, one of which at least is computed."""
    if node.domain or node.op_type not in _TURNED:
        return False
    computed = any(constant(v) is None for v in node.inputs)
    return computed and node.inputs[0].dtype == ir.DataType.FLOAT


class _Written:
    """Nodes that are put before one that they stand for, under its name."""

    def __init__(self, graph: ir.Graph, node: ir.Node) -> None:
        self._graph, self._node, self._name = graph, node, node.name
        node.name = f"{node.name}.written"

    def number(self, number: float, what: str) -> ir.Value:
        """A constant."""
        return add_initializer(self._graph, np.array(number, np.float32), f"{self._name}.{what}")

    def neurons(self, comparison: ir.Node) -> ir.Value:
        """Where the difference of what is compared is not below 0."""
        high, low = comparison.inputs[:: -1 if _TURNED[comparison.op_type] else 1]
        number = constant(low)
        alike = high.shape == comparison.outputs[0].shape
        gap = high if number is not None and not number.any() and alike else None
        if gap is None:
            gap = self.op("Sub", [high, low], f"{self._name}/gap")
        attributes = {"tau": 1.0, "v_threshold": 0.0, "decay_input": 0}
        return self.op("LIF", [gap], self._name, DIALECT, **attributes)

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value],
        name: str = "",
        domain: str = "",
        **attributes: float,
    ) -> ir.Value:
        """A node of the shape of what it stands for."""
        name = name or f"{self._name}/{op_type}"
        made = ir.node(op_type, inputs, attributes, domain=domain, name=name)
        made.metadata_props[WRITTEN] = self._node.op_type
        (value,) = made.outputs
        old = self._node.outputs[0]
        value.name, value.shape, value.type = f"{name}:neurons", old.shape, old.type
        self._graph.insert_before(self._node, made)
        return value
