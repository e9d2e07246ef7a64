"""What a spelling is: a function that writes a node of the dialect in ops that are lowered."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from hqc.dialect.metadata import LAYER, WRITTEN
from hqc.passes.graph import add_initializer, constant


class Rewrite:
    """A node that is being written otherwise: new nodes are put before it, under its name."""

    def __init__(self, graph: ir.Graph, node: ir.Node) -> None:
        self.graph, self.node = graph, node

    @property
    def attributes(self) -> dict[str, object]:
        """The node's attributes, in a dict that may be changed."""
        return {a.name: a.value for a in self.node.attributes.values()}

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        shape: Sequence[int],
        *,
        what: str = "",
        domain: str = "",
        **attributes: object,
    ) -> ir.Value:
        """A new node of one output; `what` names it where it is only a part of the old one."""
        name = f"{self.node.name}/{what}" if what else self.node.name
        made = ir.node(op_type, inputs, attributes, name=name, domain=domain)
        made.metadata_props[WRITTEN] = self.node.metadata_props.get(WRITTEN, self.node.op_type)
        if not what and LAYER in self.node.metadata_props:
            made.metadata_props[LAYER] = self.node.metadata_props[LAYER]
        (value,) = made.outputs
        value.name = f"{name}:{len(self.graph)}"
        value.shape, value.dtype = ir.Shape(shape), self.node.outputs[0].dtype
        self.graph.insert_before(self.node, made)
        return value

    def constant(self, array: np.ndarray, what: str) -> ir.Value:
        """A new initializer."""
        return add_initializer(self.graph, array, f"{self.node.name}.{what}")

    def reshape(self, x: ir.Value, shape: Sequence[int], what: str) -> ir.Value:
        """A view of x; of a constant, a constant."""
        array = constant(x)
        if array is not None:
            return self.constant(array.reshape(shape), what or "view")
        target = self.constant(np.array(shape, np.int64), f"{what or 'view'}.shape")
        return self.op("Reshape", [x, target], shape, what=what)

    def transposed(self, x: ir.Value, what: str) -> ir.Value:
        """x with its last two axes the other way round; of a constant, a constant."""
        array = constant(x)
        if array is not None:
            return self.constant(array.swapaxes(-2, -1).copy(), what or "turned")
        rank = len(x.shape)
        perm = [*range(rank - 2), rank - 1, rank - 2]
        shape = [x.shape.numpy()[i] for i in perm]
        return self.op("Transpose", [x], shape, what=what, perm=perm)

    def finish(self, value: ir.Value) -> None:
        """Let the value stand for the node's output, and take its name; the node goes."""
        old = self.node.outputs[0]
        old.replace_all_uses_with(value, replace_graph_outputs=True)
        self.graph.remove(self.node, safe=True)
        value.name = old.name


Spelling = Callable[[Rewrite], None]
"""Writes a node otherwise, and finishes the rewrite; or leaves it as it is."""

_SPELLINGS: dict[str, list[Spelling]] = {}


def spelling(*op_types: str) -> Callable[[Spelling], Spelling]:
    """Register the decorated function for those ops of standard ONNX."""

    def register(function: Spelling) -> Spelling:
        for op_type in op_types:
            _SPELLINGS.setdefault(op_type, []).append(function)
        return function

    return register


def spellings() -> dict[str, list[Spelling]]:
    """Every spelling, by op."""
    return dict(_SPELLINGS)


def find_spellings(node: ir.Node) -> list[Spelling]:
    """What may apply to a node."""
    return [] if node.domain else _SPELLINGS.get(node.op_type, [])
