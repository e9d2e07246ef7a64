"""BatchNorm, and the bias before it, become one multiplication and one addition per channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from hqc.passes.graph import add_initializer, constant, remove_unused
from hqc.passes.integer_rules.arithmetic import batch_norm
from hqc.passes.pass_base import Pass, register

_BIAS_INPUT = {"Conv": 2, "Gemm": 2}


@register
@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """BatchNormalization(x) -> x * a + b.

    1. a = gamma / sqrt(variance + epsilon), b = beta - mean * a, per channel (axis 1).
    2. Where x is the output of a Conv or Gemm that nothing else reads, its constant bias c moves
       into b as c * a.
    Weights stay as they are: scaling them would undo their quantization. For runtimes of floats;
    make-integer does the same exactly.
    """

    name: ClassVar[str] = "fold-batch-norm"
    tolerance: ClassVar[float] = 0.05

    def run(self, model: ir.Model) -> ir.Model:
        """Rewrite every BatchNormalization of the main graph."""
        for node in model.graph:
            if node.op_type == "BatchNormalization" and node.domain == "":
                _fold(model.graph, node)
        remove_unused(model)
        return model


def _fold(graph: ir.Graph, node: ir.Node) -> None:
    scale, shift = batch_norm(node)

    x = node.inputs[0]
    producer = x.producer()
    bias_input = _BIAS_INPUT.get(producer.op_type) if producer is not None else None
    if bias_input is not None and len(producer.inputs) > bias_input and len(x.uses()) == 1:
        bias = constant(producer.inputs[bias_input])
        if bias is not None:
            shift = shift + bias * scale
            producer.replace_input_with(bias_input, None)

    shape = [-1] + [1] * (len(x.shape) - 2)
    factors = [
        add_initializer(graph, array.astype(np.float32).reshape(shape), f"{node.name}.{kind}")
        for kind, array in (("scale", scale), ("shift", shift))
    ]
    multiply = ir.node("Mul", [x, factors[0]], name=f"{node.name}/Mul")
    add = ir.node("Add", [multiply.outputs[0], factors[1]], name=f"{node.name}/Add")
    old = node.outputs[0]
    for new in (multiply.outputs[0], add.outputs[0]):
        new.shape, new.type = old.shape, old.type
    add.outputs[0].name = old.name
    old.replace_all_uses_with(add.outputs[0], replace_graph_outputs=True)
    graph.insert_after(node, [multiply, add])
    graph.remove(node, safe=True)
