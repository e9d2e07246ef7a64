"""What the graph computes from constants alone becomes a constant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT, find_op
from hqc.passes.graph import add_initializer, constant, remove_unused
from hqc.passes.pass_base import Pass, register
from hqc.reference import run_reference

_WEIGHTS = {("", "Conv"): (1,), ("", "Gemm"): (0, 1), ("", "MatMul"): (0, 1)}
"""The inputs that are a layer's weights."""

_VIEWS = {"Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze"}


@register
@dataclass(frozen=True)
class FoldConstants(Pass):
    """op(constants) -> an initializer of its result, by the op's own meaning.

    1. A quantizer of a layer's weights, and transposes of what it gives, stay: their codes are what
       is compiled.
    2. Any other use of what such a quantizer gives, a bias say, reads the result.
    """

    name: ClassVar[str] = "fold-constants"
    tolerance: ClassVar[float] = 1e-6

    def run(self, model: ir.Model) -> ir.Model:
        """Evaluate in the order of the graph."""
        quantized: set[ir.Value] = set()
        for node in list(model.graph):
            inputs = [v for v in node.inputs if v is not None]
            if any(a.type == ir.AttributeType.GRAPH for a in node.attributes.values()):
                continue  # what its graph reads is not among its inputs
            if not inputs or any(constant(v) is None and v not in quantized for v in inputs):
                continue
            if _keeps_codes(node, quantized):
                quantized.add(node.outputs[0])
            elif len(node.outputs) == 1 and not node.outputs[0].is_graph_output():
                _fold(model.graph, node.outputs[0])
        for value in quantized:
            uses = [(n, i) for n, i in value.uses() if not _reads_codes(n, i, quantized)]
            if uses:
                result = _constant(model.graph, value)
                for node, index in uses:
                    node.replace_input_with(index, result)
        remove_unused(model)
        return model


def _keeps_codes(node: ir.Node, quantized: set[ir.Value]) -> bool:
    """Whether a node is a quantizer of constants, or a view of what one gives."""
    if node.domain == DIALECT and node.op_type.startswith("Quant"):
        return all(constant(v) is not None for v in node.inputs)
    return not node.domain and node.op_type in _VIEWS and node.inputs[0] in quantized


def _reads_codes(node: ir.Node, index: int, quantized: set[ir.Value]) -> bool:
    """Whether a use is a layer's of its weights, or a view on the way there."""
    if node.outputs[0] in quantized:
        return True
    return index in _WEIGHTS.get((node.domain, node.op_type), ())


def _fold(graph: ir.Graph, value: ir.Value) -> None:
    value.replace_all_uses_with(_constant(graph, value))


def _constant(graph: ir.Graph, value: ir.Value) -> ir.Value:
    """A new initializer that holds what the graph computes for a value."""
    return add_initializer(graph, _evaluate(value), f"{value.name}.folded")


def _evaluate(value: ir.Value) -> np.ndarray:
    """What constants make of a value."""
    known = constant(value)
    if known is not None:
        return known
    node = value.producer()
    arrays = [None if v is None else _evaluate(v) for v in node.inputs]
    op = find_op(node)
    if op is not None:
        return op.reference(*arrays, **op.attributes(node))
    inputs = [
        None if a is None else ir.Value(name=f"x{i}", const_value=ir.tensor(a))
        for i, a in enumerate(arrays)
    ]
    alone = ir.node(node.op_type, inputs, node.attributes, name=node.name)
    graph = ir.Graph(
        [], alone.outputs, nodes=[alone], initializers=[v for v in inputs if v is not None],
        name="constants", opset_imports=dict(node.graph.opset_imports),
    )  # fmt: skip
    alone.outputs[0].name = "result"
    alone.outputs[0].type = value.type
    alone.outputs[0].shape = value.shape
    return run_reference(ir.Model(graph, ir_version=10), {})[0]
