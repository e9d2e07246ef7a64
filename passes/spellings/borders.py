"""A border that is written into an image pixel by pixel is padding, plus numbers by position."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.passes.graph import constant
from hqc.passes.spellings.spelling import Rewrite, spelling
from hqc.reference import run_reference

_MOVES = {"Identity", "Reshape", "ScatterND", "Transpose"}
_EXACT = 2**24
"""Up to here float32 tells whole numbers apart."""


@spelling("ScatterND")
def written_border(rewrite: Rewrite) -> None:
    """Pad, then constants written over the padding -> Pad, plus those constants.

    Meta-SpikeFormer's RepConv writes what BatchNorm gives for 0 around its image so. The nodes are
    run on an image of numbers that tell pixels apart, so that it does not matter how it is written.
    """
    chain = _chain(rewrite.node)
    if chain is None:
        return
    pad, *_ = chain
    x, amounts = pad.inputs[0], constant(pad.inputs[1])
    if len(x.shape) != 4 or amounts is None or len(pad.inputs) > 2:
        return
    following = _following(rewrite.node)
    written = [i for i, node in enumerate(following, 1) if node.op_type == "ScatterND"]
    for end in range(max(written, default=0), len(following) + 1):
        nodes = [*chain, *following[:end]]
        border = _border(nodes, x, [int(n) for n in amounts[2:4]])
        if border is not None:
            out = nodes[-1].outputs[0]
            padded = rewrite.op("Pad", [x, pad.inputs[1]], border.shape, what="padded")
            numbers = rewrite.constant(border[:1], "border")
            whole = rewrite.op("Add", [padded, numbers], border.shape)
            out.replace_all_uses_with(whole, replace_graph_outputs=True)
            return


def _border(nodes: list[ir.Node], x: ir.Value, corner: list[int]) -> np.ndarray | None:
    """What the nodes write around an image, zeros inside; None where they do anything else.

    `corner` is where the image begins.
    """
    shape = x.shape.numpy()
    if np.prod(shape) >= _EXACT:
        return None
    pixels = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)
    (top, left), (height, width) = corner, shape[2:]
    inside = (..., slice(top, top + height), slice(left, left + width))
    borders = []
    for image in (pixels, -pixels):  # a border that differs is made of pixels, as of edges
        seen = run_reference(_model(nodes, x), {"x": image})[0]
        if seen.ndim != 4 or not np.array_equal(seen[inside], image):
            return None
        seen[inside] = 0
        borders.append(seen)
    border, other = borders
    return border if np.array_equal(border, other) and np.all(border == border[:1]) else None


def _chain(node: ir.Node) -> list[ir.Node] | None:
    """The nodes from a Pad to this one, each read by the next alone, all else constant."""
    nodes = [node]
    while nodes[0].op_type != "Pad":
        first = nodes[0]
        if first.domain or first.op_type not in _MOVES:
            return None
        if any(constant(v) is None for v in first.inputs[1:]):
            return None
        before = first.inputs[0].producer()
        if before is None or len(before.outputs[0].uses()) != 1:
            return None
        nodes.insert(0, before)
    return nodes


def _following(node: ir.Node) -> list[ir.Node]:
    """The moves behind a node, each read by the next alone."""
    found, value = list[ir.Node](), node.outputs[0]
    while len(value.uses()) == 1 and not value.is_graph_output():
        (use,) = value.uses()
        moves = not use.node.domain and use.node.op_type in _MOVES and use.idx == 0
        if not moves or any(constant(v) is None for v in use.node.inputs[1:]):
            break
        found.append(use.node)
        value = use.node.outputs[0]
    return found


def _model(nodes: list[ir.Node], x: ir.Value) -> ir.Model:
    """A model of some nodes of another, from a value to what the last gives."""
    given = ir.Value(name="x", shape=x.shape, type=x.type)
    values: dict[ir.Value, ir.Value] = {x: given}
    made, initializers = list[ir.Node](), list[ir.Value]()
    for number, node in enumerate(nodes):
        inputs: list[ir.Value | None] = []
        for index, value in enumerate(node.inputs):
            if value is None or value in values:
                inputs.append(None if value is None else values[value])
                continue
            copy = ir.Value(name=f"c{number}.{index}", const_value=value.const_value)
            initializers.append(copy)
            inputs.append(copy)
        attributes = list(node.attributes.values())
        copied = ir.Node("", node.op_type, inputs, attributes, name=f"n{number}")
        result = copied.outputs[0]
        old = node.outputs[0]
        result.name, result.shape, result.type = f"y{number}", old.shape, old.type
        values[old] = result
        made.append(copied)
    graph = ir.Graph(
        [given], [made[-1].outputs[0]], nodes=made, initializers=initializers, name="moves",
        opset_imports=dict(nodes[0].graph.opset_imports),
    )  # fmt: skip
    return ir.Model(graph, ir_version=10)
