"""A network that repeats its image over time becomes one that is shown a frame at every step."""

from __future__ import annotations

import onnx_ir as ir

from hqc.dialect import DIALECT

_REPEATS = {"Expand", "Tile"}
_VIEWS = {"Identity", "Reshape", "Squeeze", "Unsqueeze"} | _REPEATS


def take_frames(model: ir.Model) -> ir.Model:
    """Make the input frames [T, ...] of a network that repeats an image [...] T times, in place.

    Published networks for images begin with `x.unsqueeze(0).repeat(T, 1, 1, 1, 1)`. Shapes must be
    known. Where the input is not repeated, or other layers come first, nothing changes.
    """
    frames = model.graph.inputs[0]
    value, before = frames, list[ir.Node]()
    while len(value.uses()) == 1:
        (use,) = value.uses()
        node, out = use.node, use.node.outputs[0]
        if node.op_type in _REPEATS and _repeats(value, out):
            _show_frames(model.graph, frames, before, node)
            return model
        if not _keeps_axes(node):
            return model
        before.append(node)
        value = out
    return model


def _keeps_axes(node: ir.Node) -> bool:
    """Whether a node means the same for frames: a view of axes of size 1, or one scale for all."""
    x, y = node.inputs[0].shape.numpy(), node.outputs[0].shape.numpy()
    if (node.domain, node.op_type) == (DIALECT, "QuantUniform"):
        return node.inputs[1].shape.numpy() in ((), (1,))
    return node.op_type in _VIEWS and [n for n in x if n > 1] == [n for n in y if n > 1]


def _repeats(x: ir.Value, y: ir.Value) -> bool:
    """Whether y is x with its first axis, of size 1, repeated."""
    before, after = x.shape.numpy(), y.shape.numpy()
    return before != after and before == (1, *after[1:])


def _show_frames(graph: ir.Graph, frames: ir.Value, before: list[ir.Node], repeat: ir.Node) -> None:
    shape = ir.Shape(repeat.outputs[0].shape.numpy())
    for node in (*before, repeat):
        if node.domain == DIALECT:
            node.outputs[0].shape = shape
        else:
            node.outputs[0].replace_all_uses_with(node.inputs[0])
            graph.remove(node, safe=True)
    frames.shape = shape
