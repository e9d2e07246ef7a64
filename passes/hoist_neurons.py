"""Neurons move before a view that mixes the axes of their input."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.passes.graph import reshape
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
        split = reshape(graph, x, shape)
        graph.insert_before(neurons, split)
        x = split.outputs[0]
    neurons.replace_input_with(0, x)
    out.shape = ir.Shape(shape)
    for node, index in list(out.uses()):
        if node.op_type == "Reshape":
            again = reshape(graph, out, node.outputs[0].shape.numpy())
            node.outputs[0].replace_all_uses_with(again.outputs[0], replace_graph_outputs=True)
            again.outputs[0].name = node.outputs[0].name
            graph.insert_after(node, again)
            graph.remove(node, safe=True)
        else:
            again = reshape(graph, out, mixed)
            node.replace_input_with(index, again.outputs[0])
            graph.insert_before(node, again)
    if not view.outputs[0].uses():
        graph.remove(view, safe=True)
