"""Which values of the network are small integers, and how large they get."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from hqc.dialect import DIALECT, find_op
from hqc.dialect.quant_uniform import code_range
from hqc.passes.pass_base import Pass, register

RANGE = "hqc.range"
"""Metadata key of a value proven to be an integer (times a scale): its largest; the least is 0."""

_SAME = {"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity", "MaxPool"}


@register
@dataclass(frozen=True)
class InferRanges(Pass):
    """Mark every activation that is a non-negative integer with its largest value.

    1. LIF gives at most 1, IntegerLIF at most `levels`, an unsigned QuantUniform of the network's
       input at most 2^bits - 1 times its scale.
    2. Views, Identity and MaxPool keep their input's range.
    3. Add of two such values gives the sum of their ranges, Mul their product.
    """

    name: ClassVar[str] = "infer-ranges"

    def run(self, model: ir.Model) -> ir.Model:
        """Annotate; the graph stays as it is."""
        highs: dict[ir.Value, int] = {}
        for node in model.graph:
            inputs = [highs.get(v) for v in node.inputs if v is not None]
            high = None
            if (node.domain, node.op_type) == (DIALECT, "LIF"):
                high = 1
            elif (node.domain, node.op_type) == (DIALECT, "IntegerLIF"):
                high = node.attributes["levels"].value
            elif (node.domain, node.op_type) == (DIALECT, "QuantUniform"):
                high = _frames_high(node)
            elif node.domain == "" and node.op_type in _SAME:
                high = inputs[0]
            elif node.domain == "" and node.op_type == "Add" and None not in inputs:
                high = sum(inputs)
            elif node.domain == "" and node.op_type == "Mul" and None not in inputs:
                high = math.prod(inputs)
            if high is not None:
                highs[node.outputs[0]] = high
                node.outputs[0].metadata_props[RANGE] = str(high)
        return model


def _frames_high(node: ir.Node) -> int | None:
    attributes = find_op(node).attributes(node)
    if attributes["signed"] or not node.inputs[0].is_graph_input():
        return None
    return code_range(attributes["bits"], signed=0)[1]
