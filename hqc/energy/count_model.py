"""Counting what a dialect model does on recordings, run in onnxruntime."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.dialect.integer_lif import NEURONS
from hqc.dialect.metadata import LAYER
from hqc.energy.counts import FP32, LayerCounts, Precision, Tally, Window
from hqc.passes.graph import ints
from hqc.reference import ReferenceSession

_QUANTIZERS = {"QuantUniform": "uniform", "QuantPow2": "pow2"}
_KEEPS_SPIKES = {
    "Cast",
    "Flatten",
    "Gather",
    "Identity",
    "MaxPool",
    "Pad",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}


@dataclass
class _Plan:
    """What to tell a tally for each node: a function of the values that are watched."""

    watch: dict[str, None] = field(default_factory=dict)
    steps: list[Callable[[Tally, dict[str, np.ndarray]], None]] = field(default_factory=list)
    precisions: dict[str, Precision] = field(default_factory=dict)


def count_model(
    model: ir.Model, recordings: Iterable[np.ndarray]
) -> tuple[list[LayerCounts], dict[str, Precision]]:
    """Counts of an average recording, and the precision of every layer's weights, by name.

    `recordings` are frames of the model's input shape [T, 1, ...]. The model is a dialect model, as
    `load_model` gives it.
    """
    plan = _plan(model)
    frames = model.graph.inputs[0]
    tally = Tally(frames.shape.numpy()[0])
    watched = [name for name in plan.watch if name != frames.name]
    session = ReferenceSession(model, watched)
    for recording in recordings:
        outputs = session.run({frames.name: recording})[len(model.graph.outputs) :]
        values = dict(zip(watched, outputs, strict=True)) | {frames.name: recording}
        tally.start()
        for step in plan.steps:
            step(tally, values)
    return tally.finish(), plan.precisions


def _plan(model: ir.Model) -> _Plan:
    plan = _Plan()
    levels: dict[ir.Value, int] = {}
    for node in model.graph:
        out = node.outputs[0]
        if node.domain == DIALECT and node.op_type in NEURONS:
            levels[out] = node.attributes["levels"].value if "levels" in node.attributes else 1
            _neurons(plan, out.name)
        elif node.op_type in _KEEPS_SPIKES and levels.get(node.inputs[0]):
            levels |= dict.fromkeys(node.outputs, levels[node.inputs[0]])
        elif node.op_type == "Add" and all(levels.get(v) for v in node.inputs):
            levels[out] = sum(levels[v] for v in node.inputs)
        elif node.op_type == "Mul" and all(levels.get(v) for v in node.inputs):
            levels[out] = math.prod(levels[v] for v in node.inputs)
        elif node.op_type == "Concat" and all(levels.get(v) for v in node.inputs):
            levels[out] = max(levels[v] for v in node.inputs)
        elif node.op_type in ("Conv", "Gemm", "MatMul"):
            _layer(plan, node, levels)
    return plan


def _neurons(plan: _Plan, spikes: str) -> None:
    plan.watch[spikes] = None
    plan.steps.append(lambda tally, values: tally.neurons(values[spikes]))


def _layer(plan: _Plan, node: ir.Node, levels: dict[ir.Value, int]) -> None:
    x, y = node.inputs[:2]
    weights = weights_precision(y)
    plan.watch[x.name] = None
    if weights is None:
        plan.watch[y.name] = None
        a, b = levels.get(x, 0), levels.get(y, 0)
        plan.steps.append(
            lambda tally, values: tally.product(node.name, values[x.name], values[y.name], a, b)
        )
        return
    name = node.metadata_props.get(LAYER, node.name)
    plan.precisions[name] = weights
    known = levels.get(x, 0)
    if node.op_type == "Conv":
        shape, window = y.shape.numpy(), _window(node)
        plan.steps.append(
            lambda tally, values: tally.convolution(name, values[x.name], known, shape, window)
        )
    else:
        outputs = node.outputs[0].shape.numpy()[-1]
        plan.steps.append(lambda tally, values: tally.linear(name, values[x.name], known, outputs))


def weights_precision(value: ir.Value) -> Precision | None:
    """The precision of a value made from constants; None for an activation."""
    while (node := value.producer()) is not None:
        if node.op_type in _QUANTIZERS and weights_precision(node.inputs[0]):
            return Precision(node.attributes["bits"].value, _QUANTIZERS[node.op_type])
        if node.op_type not in ("Transpose", "Reshape", "Identity"):
            return None
        value = node.inputs[0]
    return FP32 if value.const_value is not None else None


def _window(node: ir.Node) -> Window:
    kernel = node.inputs[1].shape.numpy()[2:]
    axes = len(kernel)
    return Window(
        kernel,
        ints(node, "strides", [1] * axes),
        ints(node, "dilations", [1] * axes),
        ints(node, "pads", [0] * 2 * axes)[:axes],
        node.outputs[0].shape.numpy()[2:],
    )
