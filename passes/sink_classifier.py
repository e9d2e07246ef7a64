"""A classifier of every time step becomes one of the mean over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from hqc.dialect.metadata import WRITTEN
from hqc.passes.graph import constant, integer
from hqc.passes.pass_base import Pass, register


@register
@dataclass(frozen=True)
class SinkClassifier(Pass):
    """mean(x W + b) -> mean(x) W + b, where the mean is over time and what is left is one vector.

    Spike-driven Transformer's published code classifies every time step and takes the mean of that.
    """

    name: ClassVar[str] = "sink-classifier"
    tolerance: ClassVar[float] = 1e-5

    def run(self, model: ir.Model) -> ir.Model:
        """Rewrite the mean that the model's output is."""
        for output in list(model.graph.outputs):
            mean = output.producer()
            if mean is not None and mean.op_type == "ReduceMean" and len(output.shape) == 2:
                _sink(model.graph, mean)
        return model


def _sink(graph: ir.Graph, mean: ir.Node) -> None:
    logits = mean.outputs[0]
    axes = constant(mean.inputs[1]) if len(mean.inputs) > 1 else None
    layer = _linear_layer(mean.inputs[0])
    if axes is None or axes.tolist() != [0] or not layer:
        return
    first, *bias = reversed(layer)
    x, weights = first.inputs
    keepdims = integer(mean, "keepdims", 1)
    rates = ir.node("ReduceMean", [x, mean.inputs[1]], {"keepdims": keepdims}, name=mean.name)
    rates.outputs[0].shape = ir.Shape([1] * keepdims + list(x.shape.numpy()[1:]))
    rates.outputs[0].type = x.type
    classifier = ir.node(
        "Gemm", [rates.outputs[0], weights, *(b.inputs[1] for b in bias)], name=first.name
    )
    classifier.metadata_props.update({WRITTEN: first.op_type, **first.metadata_props})
    made = classifier.outputs[0]
    made.name, made.shape, made.type = logits.name, logits.shape, logits.type
    logits.replace_all_uses_with(made, replace_graph_outputs=True)
    graph.insert_before(mean, [rates, classifier])
    graph.remove([mean, *layer], safe=True)


def _linear_layer(value: ir.Value) -> list[ir.Node]:
    """The nodes, last to first, of a linear layer that ends in `value` and serves nothing else."""
    nodes = []
    node = value.producer()
    bias = constant(node.inputs[1]) if node is not None and node.op_type == "Add" else None
    if bias is not None and bias.ndim == 1:
        nodes.append(node)
        node = node.inputs[0].producer()
    if node is None or node.op_type != "MatMul" or not _is_constant(node.inputs[1]):
        return []
    nodes.append(node)
    return nodes if all(len(n.outputs[0].uses()) == 1 for n in nodes) else []


def _is_constant(value: ir.Value) -> bool:
    """Whether a value is made from initializers alone."""
    node = value.producer()
    if node is None:
        return value.is_initializer()
    return all(_is_constant(v) for v in node.inputs if v is not None)
