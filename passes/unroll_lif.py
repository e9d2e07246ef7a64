"""LIF neurons written out over time in standard ONNX, as frameworks export them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT, find_op
from hqc.passes.graph import add_initializer
from hqc.passes.pass_base import Pass, register


@register
@dataclass(frozen=True)
class UnrollLIF(Pass):
    """LIF(x) -> a Split over time, a few ops a step, a Concat.

    Loops cost a runtime more than the ops inside them; this is the form to compare speed with.
    """

    name: ClassVar[str] = "unroll-lif"
    tolerance: ClassVar[float] = 0.05

    def run(self, model: ir.Model) -> ir.Model:
        """Rewrite every LIF."""
        for node in model.graph:
            if (node.domain, node.op_type) == (DIALECT, "LIF"):
                _unroll(model.graph, node)
        return model


def _unroll(graph: ir.Graph, node: ir.Node) -> None:
    attributes = find_op(node).attributes(node)
    tau, threshold = attributes["tau"], attributes["v_threshold"]
    old = node.outputs[0]
    tape = ir.tape.Tape()

    def number(value: float, name: str) -> ir.Value:
        return add_initializer(graph, np.array(value, np.float32), f"{node.name}.{name}")

    steps = old.shape.numpy()[0]
    if attributes["decay_input"]:
        rate = number(1 / tau, "rate")
    if steps > 1:
        keep = number(1 - 1 / tau, "keep")
    level = number(threshold, "threshold")
    if not attributes["soft_reset"]:
        reset = number(attributes["v_reset"], "reset")
    height = level
    if attributes["v_reset"] and attributes["soft_reset"]:
        height = number(threshold - attributes["v_reset"], "height")
    parts = tape.op_multi_out(
        "Split", [node.inputs[0]], {"axis": 0, "num_outputs": steps}, num_outputs=steps
    )
    spikes = []
    v = None
    for x in parts:
        current = tape.op("Mul", [x, rate]) if attributes["decay_input"] else x
        v = current if v is None else tape.op("Add", [tape.op("Mul", [v, keep]), current])
        fires = tape.op("GreaterOrEqual", [v, level])
        spike = tape.op("Cast", [fires], {"to": ir.DataType.FLOAT.value})
        spikes.append(spike)
        if attributes["soft_reset"]:
            v = tape.op("Sub", [v, tape.op("Mul", [spike, height])])
        else:
            v = tape.op("Where", [fires, reset, v])
    joined = tape.op("Concat", spikes, {"axis": 0})
    for index, made in enumerate(tape.nodes):
        made.name = f"{node.name}/{made.op_type}_{index}"
        for number_, value in enumerate(made.outputs):
            value.name = f"{made.name}:{number_}"
    joined.shape, joined.type = old.shape, old.type
    old.replace_all_uses_with(joined, replace_graph_outputs=True)
    graph.insert_after(node, tape.nodes)
    graph.remove(node, safe=True)
