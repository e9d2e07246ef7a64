"""Split and Gather are slices."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.passes.graph import constant, integer
from hqc.passes.spellings.spelling import Rewrite, spelling


def _slice(rewrite: Rewrite, axis: int, start: int, end: int, what: str) -> ir.Value:
    """A block of the node's input along an axis."""
    x = rewrite.node.inputs[0]
    bounds = [
        rewrite.constant(np.array([i], np.int64), f"{what}.{name}")
        for i, name in ((start, "start"), (end, "end"), (axis, "axis"))
    ]
    shape = [end - start if i == axis else n for i, n in enumerate(x.shape.numpy())]
    return rewrite.op("Slice", [x, *bounds], shape, what=what)


@spelling("Split")
def split(rewrite: Rewrite) -> None:
    """Split -> a Slice for each of its outputs that is read."""
    node = rewrite.node
    axis = integer(node, "axis", 0) % len(node.inputs[0].shape)
    start = 0
    for number, part in enumerate(node.outputs):
        end = start + part.shape.numpy()[axis]
        if part.uses() or part.is_graph_output():
            made = _slice(rewrite, axis, start, end, str(number))
            part.replace_all_uses_with(made, replace_graph_outputs=True)
            made.name, part.name = part.name, f"{part.name}/split"
        start = end
    rewrite.graph.remove(node, safe=True)


@spelling("Gather")
def gather(rewrite: Rewrite) -> None:
    """Gather of one index, or of several in a row -> Slice, and a view."""
    node = rewrite.node
    indices = constant(node.inputs[1])
    if indices is None or indices.ndim > 1 or not indices.size:
        return
    axis = integer(node, "axis", 0) % len(node.inputs[0].shape)
    size = node.inputs[0].shape.numpy()[axis]
    wanted = indices.reshape(-1) % size
    if not np.array_equal(wanted, wanted[0] + np.arange(len(wanted))):
        return
    start, end = int(wanted[0]), int(wanted[-1]) + 1
    if indices.ndim:
        rewrite.finish(_slice(rewrite, axis, start, end, ""))
        return
    part = _slice(rewrite, axis, start, end, "part")
    rewrite.finish(rewrite.reshape(part, node.outputs[0].shape.numpy(), ""))
