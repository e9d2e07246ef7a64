"""Neurons move before a view that mixes the axes of their input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.passes.pass_base import Pass, register


@register
@dataclass(frozen=True)
class HoistNeurons(Pass):
    """LIF(Reshape(x)) -> Reshape(LIF(x)), where the view mixes axes behind time.

    Neurons do not see how the axes behind time are split, but their thresholds go with channels.
    Spikformer's published code needs it: it views the sums of its keys, [T, B, N, C], as
    [T, B, C, N] before the neurons, and their spikes as heads after them.

    1. A view that splits and merges axes stays where it is.
    2. Of two views that follow each other then, the first is dropped.
    """

    name: ClassVar[str] = "hoist-neurons"

    def run(self, model: ir.Model) -> ir.Model:
        """Rewrite every such pair."""
        for node in list(model.graph):
            if (node.domain, node.op_type) != (DIALECT, "LIF") or node.outputs[0].is_graph_output():
                continue
            view = node.inputs[0].producer()
            if view is not None and view.op_type == "Reshape" and _mixes(view):
                _hoist(model.graph, node, view)
        return model


def _mixes(view: ir.Node) -> bool:
    """Whether, between two places where axes end before and after, several become several."""
    before, after = (v.shape.numpy() for v in (view.inputs[0], view.outputs[0]))
    ends, new_ends = ({*np.cumprod(shape).tolist()} for shape in (before, after))
    return before[0] == after[0] and any(
        any(a < end < b for end in ends) and any(a < end < b for end in new_ends)
        for a, b in pairwise(sorted(ends & new_ends))
    )


def _hoist(graph: ir.Graph, neurons: ir.Node, view: ir.Node) -> None:
    x, out = view.inputs[0], neurons.outputs[0]
    shape, mixed = x.shape.numpy(), out.shape.numpy()
    if shape[1] > 1 and mixed[1] == 1:
        # Beside neurons that were not viewed otherwise, whose batch is an axis of its own.
        shape = (shape[0], 1, *shape[1:])
        x = _reshaped(graph, x, shape, neurons)
    neurons.replace_input_with(0, x)
    out.shape = ir.Shape(shape)
    views = [use.node for use in out.uses() if use.node.op_type == "Reshape"]
    others = [use for use in out.uses() if use.node.op_type != "Reshape"]
    for after in views:
        # Zeros in the shape would name axes of the view that is dropped.
        target = _shape(graph, after.outputs[0].shape.numpy(), f"{after.name}.shape")
        after.replace_input_with(1, target)
    if others:
        again = _reshaped(graph, out, mixed, neurons, before=False)
        for use in others:
            use.node.replace_input_with(use.idx, again)
    if not view.outputs[0].uses():
        graph.remove(view, safe=True)


def _reshaped(
    graph: ir.Graph, x: ir.Value, shape: Sequence[int], beside: ir.Node, before: bool = True
) -> ir.Value:
    name = f"{beside.name}/{'Split' if before else 'Mix'}"
    node = ir.node("Reshape", [x, _shape(graph, shape, f"{name}.shape")], name=name)
    made = node.outputs[0]
    made.name, made.shape, made.type = f"{name}:out", ir.Shape(shape), x.type
    (graph.insert_before if before else graph.insert_after)(beside, node)
    return made


def _shape(graph: ir.Graph, shape: Sequence[int], name: str) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(np.array(shape, np.int64)))
    graph.register_initializer(value)
    return value
