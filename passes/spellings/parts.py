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


@spelling("Gather")
def gather_by_table(rewrite: Rewrite) -> None:
    """Gather by a table of indices -> by a list, and a view."""
    node = rewrite.node
    indices = constant(node.inputs[1])
    if indices is None or indices.ndim < 2:
        return
    axis = integer(node, "axis", 0) % len(node.inputs[0].shape)
    shape = list(node.inputs[0].shape.numpy())
    shape[axis] = indices.size
    which = rewrite.constant(indices.reshape(-1), "list")
    listed = rewrite.op("Gather", [node.inputs[0], which], shape, what="listed", axis=axis)
    rewrite.finish(rewrite.reshape(listed, node.outputs[0].shape.numpy(), ""))


@spelling("GatherND")
def gather_nd(rewrite: Rewrite) -> None:
    """GatherND of whole rows -> Gather along the first axis."""
    node = rewrite.node
    indices = constant(node.inputs[1])
    if integer(node, "batch_dims", 0) or indices is None or indices.ndim != 2:
        return
    if indices.shape[1] == 1:
        rows = rewrite.constant(indices.reshape(-1), "rows")
        shape = node.outputs[0].shape.numpy()
        rewrite.finish(rewrite.op("Gather", [node.inputs[0], rows], shape, axis=0))


@spelling("Resize")
def enlarged(rewrite: Rewrite) -> None:
    """Resize to the nearest pixel, whole times larger -> each pixel repeated."""
    node = rewrite.node
    given = {name: a.value for name, a in node.attributes.items()}
    floored = (given.get("nearest_mode"), given.get("coordinate_transformation_mode"))
    if given.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        return
    if given.get("mode") != "nearest" or floored != ("floor", "asymmetric") or "axes" in given:
        return
    before, after = (v.shape.numpy() for v in (node.inputs[0], node.outputs[0]))
    if any(m % n for n, m in zip(before, after, strict=True)):
        return
    columns = [size for n in before for size in (n, 1)]
    repeats = [size for n, m in zip(before, after, strict=True) for size in (n, m // n)]
    split = rewrite.reshape(node.inputs[0], columns, "pixels")
    target = rewrite.constant(np.array(repeats, np.int64), "repeats")
    many = rewrite.op("Expand", [split, target], repeats, what="repeated")
    rewrite.finish(rewrite.reshape(many, after, ""))
