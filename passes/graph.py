"""Reading constants and building graphs, as passes need it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from hqc.dialect import OPSET
from hqc.dialect.metadata import MADE_FOR, WRITTEN
from hqc.errors import UnsupportedModelError


class MixedTimeError(UnsupportedModelError):
    """A node mixes time steps: it can be lowered where all of them are seen together."""


def constant(value: ir.Value | None) -> np.ndarray | None:
    """The array behind an initializer, None for a value that is computed."""
    if value is None or value.const_value is None:
        return None
    return value.const_value.numpy()


def remove_unused(model: ir.Model) -> None:
    """Remove nodes and initializers that nothing reads. The bodies of ops have none."""
    functions = dict(model.functions)
    model.functions.clear()
    RemoveUnusedNodesPass()(model)
    model.functions.update(functions)


def where(node: ir.Node) -> str:
    """How messages name a node: as the user wrote it."""
    if MADE_FOR in node.metadata_props:
        return node.metadata_props[MADE_FOR]
    if WRITTEN in node.metadata_props:
        return f"node {node.name!r} ({node.metadata_props[WRITTEN]})"
    domain = f"{node.domain}::" if node.domain else ""
    return f"node {node.name!r} ({domain}{node.op_type.removeprefix('FixedPoint')})"


def unsupported(node: ir.Node, why: str, hint: str | None = None) -> UnsupportedModelError:
    """The error for a node that cannot be lowered."""
    return UnsupportedModelError(f"{where(node)}: {why}", hint)


def mixes_time(node: ir.Node, why: str, hint: str | None = None) -> MixedTimeError:
    """The error for a node that cannot be lowered step by step."""
    return MixedTimeError(f"{where(node)}: {why}", hint)


def ints(node: ir.Node, name: str, default: Sequence[int]) -> list[int]:
    """A list attribute of a standard op."""
    attribute = node.attributes.get(name)
    return list(default if attribute is None else attribute.value)


def integer(node: ir.Node, name: str, default: int) -> int:
    """An integer attribute of a standard op."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.value


def add_initializer(graph: ir.Graph, array: np.ndarray, name: str) -> ir.Value:
    """Add a constant to a graph, under the name or, where the graph has that, a numbered one."""
    taken = {v.name for node in graph for v in node.outputs} | {v.name for v in graph.inputs}
    taken |= set(graph.initializers)
    tensor = ir.tensor(array)
    value = ir.Value(
        name=_unused(name, taken),
        const_value=tensor,
        shape=tensor.shape,
        type=ir.TensorType(tensor.dtype),
    )
    graph.register_initializer(value)
    return value


def reshape(graph: ir.Graph, value: ir.Value, shape: Sequence[int]) -> ir.Node:
    """A Reshape of a value to a static shape, which is still to be put into the graph."""
    name = f"{value.name}/Reshape{len(graph.initializers)}"
    target = add_initializer(graph, np.array(shape, np.int64), f"{name}.shape")
    node = ir.node("Reshape", [value, target], name=name)
    made = node.outputs[0]
    made.shape, made.type = ir.Shape(shape), value.type
    return node


def _unused(name: str, taken: set[str]) -> str:
    """The name, numbered where it is taken; it is taken then."""
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    taken.add(candidate)
    return candidate


class GraphBuilder:
    """A new graph in the making, that keeps the names and the inputs of an old one."""

    def __init__(self, old: ir.Graph) -> None:
        self._old = old
        self._nodes: list[ir.Node] = []
        self._initializers: list[ir.Value] = []
        self._node_names: set[str] = set()
        self._value_names = {v.name for v in (*old.inputs, *old.outputs)}
        self.inputs = [
            ir.Value(name=v.name, shape=v.shape, type=v.type, metadata_props=dict(v.metadata_props))
            for v in old.inputs
        ]

    def initializer(self, array: np.ndarray, name: str) -> ir.Value:
        """Add a constant."""
        tensor = ir.tensor(array)
        value = ir.Value(
            name=_unused(name, self._value_names),
            const_value=tensor,
            shape=tensor.shape,
            type=ir.TensorType(tensor.dtype),
        )
        self._initializers.append(value)
        return value

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value],
        shape: Sequence[int],
        dtype: ir.DataType,
        *,
        name: str,
        domain: str = "",
        **attributes: object,
    ) -> ir.Value:
        """Add a node with one output of known shape and type."""
        name = _unused(name, self._node_names)
        node = ir.node(op_type, inputs, attributes or None, domain=domain, name=name)
        self._nodes.append(node)
        value = node.outputs[0]
        value.name = _unused(f"{name}:out", self._value_names)
        value.shape, value.type = ir.Shape(shape), ir.TensorType(dtype)
        return value

    def mark(self) -> tuple[int, int]:
        """Where the graph is in the making, for `rewind`."""
        return len(self._nodes), len(self._initializers)

    def rewind(self, mark: tuple[int, int]) -> None:
        """Take out, names and all, what was added since."""
        nodes, initializers = mark
        for node in self._nodes[nodes:]:
            for index in range(len(node.inputs)):
                node.replace_input_with(index, None)
            self._node_names.remove(node.name)
            self._value_names.remove(node.outputs[0].name)
        self._value_names -= {v.name for v in self._initializers[initializers:]}
        del self._nodes[nodes:], self._initializers[initializers:]

    def finish(self, model: ir.Model, outputs: Sequence[ir.Value]) -> ir.Model:
        """The model with the new graph; its outputs take the names of the old ones."""
        for value, old in zip(outputs, self._old.outputs, strict=True):
            value.name = old.name
        graph = ir.Graph(
            self.inputs,
            outputs,
            nodes=self._nodes,
            initializers=self._initializers,
            name=self._old.name,
            opset_imports={"": OPSET},
        )
        RemoveUnusedNodesPass()(built := ir.Model(graph, ir_version=10))
        built.producer_name = "hqc"
        built.metadata_props.update(model.metadata_props)
        return built
