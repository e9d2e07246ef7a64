"""Which ops of other notations are read, and the walk over a model that reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from hqc.frontend.foreign.constants import Constants
from hqc.frontend.foreign.levels import Levels
from hqc.frontend.names import name_nodes
from hqc.passes.graph import add_initializer, remove_unused, unsupported


@dataclass
class Rewriting:
    """A graph whose quantizers are read one after the other, and what is known of its values."""

    graph: ir.Graph
    versions: dict[str, int]
    constants: Constants = field(default_factory=Constants)
    _levels: Levels | None = None
    _made: set[ir.Node] = field(default_factory=set)

    @property
    def levels(self) -> Levels:
        """Which numbers values can be; worked out when it is first asked for."""
        if self._levels is None:
            self._levels = Levels(self.graph, self.constants)
        return self._levels

    def constant(self, array: np.ndarray, name: str) -> ir.Value:
        """Add an initializer."""
        return add_initializer(self.graph, array, name)

    def insert(self, at: ir.Node, node: ir.Node) -> ir.Value:
        """Put a node of one output before another; return what it gives."""
        (value,) = node.outputs
        value.name = value.name or f"{node.name}:out"
        self.graph.insert_before(at, node)
        self._made.add(node)
        if self._levels is not None:
            self._levels.add(node)
        return value

    def replace(self, node: ir.Node, value: ir.Value) -> None:
        """Let a value be read in place of what a node gives, and take its name where it is new."""
        old = node.outputs[0]
        if old.is_graph_output() and value.producer() not in self._made:
            value = self.insert(node, ir.node("Identity", [value], name=f"{node.name}/Identity"))
        value.shape = value.shape or old.shape
        value.type = value.type or ir.TensorType(ir.DataType.FLOAT)
        old.replace_all_uses_with(value, replace_graph_outputs=True)
        if value.producer() in self._made:
            name = old.name
            old.name, value.name = f"{name}.written", name


Read = Callable[[ir.Node, Rewriting], None]
"""Puts something of ours in place of a node. Raises `UnsupportedModelError`, naming the node."""

_READERS: dict[tuple[str, str], Read] = {}


def reads(op_type: str, *domains: str) -> Callable[[Read], Read]:
    """Register the decorated function as what reads an op."""

    def register(function: Read) -> Read:
        for domain in domains:
            _READERS[domain, op_type] = function
        return function

    return register


def is_foreign(domain: str, op_type: str) -> bool:
    """Whether an op of another notation is one that is read."""
    return (domain, op_type) in _READERS


def take_foreign(model: ir.Model) -> ir.Model:
    """Put our quantizers in place of those of other notations.

    Nodes must have names, and constants be initializers; shapes need not be known. Raises
    `UnsupportedModelError`, naming the node, for what has no equal here.
    """
    found = [n for n in model.graph.all_nodes() if (n.domain, n.op_type) in _READERS]
    if not found:
        return model
    rewriting = Rewriting(model.graph, dict(model.opset_imports))
    for node in found:
        if node.graph is not model.graph:
            raise unsupported(
                node, "it is inside a loop or a branch", "export the model with its loops unrolled"
            )
    for node in found:
        _READERS[node.domain, node.op_type](node, rewriting)
    remove_unused(model)
    for node in model.graph:
        if (node.domain, node.op_type) in _READERS:
            raise unsupported(
                node,
                "its codes are read by no DequantizeLinear",
                "export quantizers as pairs of QuantizeLinear and DequantizeLinear",
            )
    for domain in {domain for domain, _ in _READERS if domain}:
        model.opset_imports.pop(domain, None)
    name_nodes(model.graph)
    return model
