"""Neurons as loops of standard ONNX, for tools that know no functions."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

from hqc.dialect import DIALECT, find_op
from hqc.exporters.quantizers import stands_for
from hqc.passes.graph import add_initializer

NEURONS = ("LIF", "IntegerLIF")


def write_neurons_plainly(graph: ir.Graph) -> None:
    """Put a Scan over time in place of every layer of neurons, of the same name.

    Its steps are those of the op's own body, in the same order, so that no bit differs. What it is
    is in its metadata.
    """
    for node in graph:
        if node.domain == DIALECT and node.op_type in NEURONS:
            _write(graph, node)


def _write(graph: ir.Graph, node: ir.Node) -> None:
    (x,), old, name = node.inputs, node.outputs[0], node.name
    _, *state = x.shape.numpy()
    shape = add_initializer(graph, np.array(state, np.int64), f"{name}.state")
    rest = ir.node("ConstantOfShape", [shape], name=f"{name}/ConstantOfShape")
    body = ir.serde.deserialize_graph(_body(node, state))
    attributes = [ir.AttrInt64("num_scan_inputs", 1), ir.AttrGraph("body", body)]
    scan = ir.Node(
        "", "Scan", [rest.outputs[0], x], attributes=attributes, num_outputs=2, name=name
    )
    scan.metadata_props.update(stands_for(node))
    for value, what in ((rest.outputs[0], "rest"), (scan.outputs[0], "last")):
        value.name, value.shape, value.type = f"{name}:{what}", ir.Shape(state), x.type
    spikes = scan.outputs[1]
    spikes.shape, spikes.type = old.shape, old.type
    graph.insert_before(node, [rest, scan])
    old.replace_all_uses_with(spikes, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    spikes.name = old.name


class _Body:
    """The graph of a step: constants, and nodes of one output each."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []

    def number(self, value: float | np.float32, name: str) -> str:
        """A constant."""
        tensor = numpy_helper.from_array(np.array(value, np.float32), name)
        self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        return name

    def op(self, op_type: str, *inputs: str, out: str = "", **attributes: int) -> str:
        """A node."""
        out = out or f"{op_type}_{len(self.nodes)}"
        made = helper.make_node(op_type, inputs, [out], name=out)
        made.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
        self.nodes.append(made)
        return out


def _body(node: ir.Node, state: list[int]) -> onnx.GraphProto:
    attributes = find_op(node).attributes(node)
    body, one = _Body(), np.float32(1)
    tau = np.float32(attributes["tau"])
    threshold = body.number(attributes["v_threshold"], "threshold")
    if attributes["decay_input"]:
        gap = body.op("Sub", "x_t", "v")
        charged = body.op("Add", "v", body.op("Div", gap, body.number(tau, "tau")))
    else:
        kept = body.op("Mul", "v", body.number(one - one / tau, "keep"))
        charged = body.op("Add", kept, "x_t")
    if node.op_type == "IntegerLIF":
        _fire_levels(body, charged, threshold, attributes)
    else:
        _fire(body, charged, threshold, attributes)
    values = [
        helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, state)
        for n in ("v", "x_t", "v_next", "s_t")
    ]
    return helper.make_graph(body.nodes, "step", values[:2], values[2:])


def _fire(body: _Body, charged: str, threshold: str, attributes: dict) -> None:
    fires = body.op("GreaterOrEqual", charged, threshold)
    body.op("Cast", fires, out="s_t", to=onnx.TensorProto.FLOAT)
    level, reset = np.float32(attributes["v_threshold"]), np.float32(attributes["v_reset"])
    if attributes["soft_reset"]:
        drop = body.op("Mul", "s_t", body.number(level - reset, "height"))
        body.op("Sub", charged, drop, out="v_next")
    else:
        body.op("Where", fires, body.number(reset, "reset"), charged, out="v_next")


def _fire_levels(body: _Body, charged: str, threshold: str, attributes: dict) -> None:
    ratio = body.op("Div", charged, threshold)
    if attributes["half_up"]:
        rounded = body.op("Floor", body.op("Add", ratio, body.number(0.5, "half")))
    else:
        rounded = body.op("Round", ratio)
    ends = body.number(0, "none"), body.number(attributes["levels"], "levels")
    body.op("Clip", rounded, *ends, out="s_t")
    body.op("Sub", charged, body.op("Mul", "s_t", threshold), out="v_next")
