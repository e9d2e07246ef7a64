"""What nodes do with the first axis of what they read, which is that of steps or of their parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from hqc.passes.graph import constant, integer

_VIEWS = {"Flatten", "Reshape", "Squeeze", "Unsqueeze"}

_ELEMENTWISE = {
    *("Add", "Sub", "Mul", "Div", "Neg", "Abs", "Max", "Min", "Round", "Floor", "Identity"),
    *("Relu", "Clip", "LeakyRelu", "PRelu", "HardSigmoid"),
}

_LAYERS = {
    *("Conv", "ConvTranspose", "BatchNormalization", "Gemm", "DepthToSpace", "SpaceToDepth"),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"),
}
"""Ops that treat what lies along the first axis of their first operand one by one."""


def before_views(value: ir.Value) -> ir.Value:
    """The first tensor of the same shape that a value is a view of, which some steps may have."""
    found = x = value
    while (node := x.producer()) is not None and not node.domain and only_views(node):
        x = node.inputs[0]
        if x.shape == value.shape:
            found = x
    return found


def shows_frames(value: ir.Value) -> bool:
    """Whether a tensor is a view of the network's input, quantized or not."""
    while (node := value.producer()) is not None:
        if node.op_type != "QuantUniform" and not only_views(node):
            return False
        value = node.inputs[0]
    return value.is_graph_input()


def only_views(node: ir.Node) -> bool:
    """Whether a node gives its numbers in another shape at most."""
    repeats = node.op_type in ("Expand", "Tile")
    return node.op_type in _VIEWS or (repeats and node.outputs[0].shape == node.inputs[0].shape)


def by_first_axis(node: ir.Node, inputs: Sequence[ir.Value | None]) -> bool:
    """Whether an op treats what lies along the first axis of such inputs one by one.

    `inputs` are of all steps where they differ from the node's.
    """
    lifted = [a is not b for a, b in zip(inputs, node.inputs, strict=True)]
    ranks = [0 if v is None else len(v.shape) for v in node.inputs]
    (out,) = node.outputs
    rank, steps = len(out.shape), out.shape.numpy()[0]
    firsts = [v.shape.numpy()[0] if v is not None and v.shape else 0 for v in node.inputs]
    if node.op_type in _ELEMENTWISE:
        return all(
            (r == rank and n == steps) if is_lifted else (r < rank or n == 1)
            for r, n, is_lifted in zip(ranks, firsts, lifted, strict=True)
        )
    if node.op_type == "MatMul":
        if all(lifted):
            return min(ranks) > 2 and firsts[0] == firsts[1]
        return ranks[lifted.index(True)] > 2 >= ranks[lifted.index(False)] or (
            lifted[0] and ranks == [2, 2]
        )
    if not lifted[0]:
        return False
    if node.op_type == "Concat":
        return all(lifted) and integer(node, "axis", 0) % rank != 0
    if any(lifted[1:]):
        return False
    if node.op_type == "Gemm":
        bias_by_row = len(ranks) > 2 and ranks[2] == 2 and firsts[2] != 1
        return not integer(node, "transA", 0) and not bias_by_row
    if node.op_type == "Pad":
        pads = constant(node.inputs[1])
        return pads is not None and len(node.inputs) < 4 and not pads[0] and not pads[ranks[0]]
    if node.op_type == "Gather":
        return integer(node, "axis", 0) % ranks[0] != 0
    if node.op_type == "Slice":
        axes = constant(node.inputs[3]) if len(node.inputs) > 3 else None
        return axes is not None and all(int(i) % ranks[0] for i in axes.reshape(-1))
    return node.op_type in _LAYERS


def alike(nodes: Sequence[ir.Node]) -> bool:
    """Whether nodes have the same attributes, and as many inputs."""
    given = [({name: a.value for name, a in n.attributes.items()}, len(n.inputs)) for n in nodes]
    return all(g == given[0] for g in given)


def equal(given: Sequence[Sequence[ir.Value | None]]) -> bool:
    """Whether values are one, or constants of the same numbers."""
    for values in zip(*given, strict=True):
        arrays = [constant(v) for v in values]
        if any(v is not values[0] for v in values) and not all(
            a is not None and np.array_equal(a, arrays[0]) for a in arrays
        ):
            return False
    return True


def span(value: ir.Value) -> tuple[int, int, int] | None:
    """Axis, start and end of what is taken of a tensor by Gather, Slice or Split."""
    node = value.producer()
    numbers = [constant(v) for v in node.inputs[1:]]
    if node.op_type == "Split":
        sizes = [v.shape.numpy() for v in node.outputs]
        axis = integer(node, "axis", 0) % len(sizes[0])
        start = sum(s[axis] for s in sizes[: value.index()])
        return axis, start, start + sizes[value.index()][axis]
    if node.op_type not in ("Gather", "Slice") or any(n is None or n.size != 1 for n in numbers):
        return None
    shape = node.inputs[0].shape.numpy()
    if node.op_type == "Gather":
        axis = integer(node, "axis", 0) % len(shape)
        start = int(numbers[0].item()) % shape[axis]
        return axis, start, start + 1
    given = [int(n.item()) for n in numbers]
    start, end, axis, step = given + [0, 1][len(given) - 2 :]
    axis %= len(shape)
    start, end, _ = slice(start, end).indices(shape[axis])
    return (axis, start, end) if step == 1 else None


def is_whole(value: ir.Value) -> bool:
    """Whether it is all that there is along an axis of size 1, as `x[0]` of [1, ...]."""
    found = span(value)
    if found is None:
        return False
    axis, *taken = found
    return taken == [0, value.producer().inputs[0].shape.numpy()[axis]] == [0, 1]


def charge_behind(potential: ir.Value, before: ir.Node) -> tuple[ir.Value, float] | None:
    """What is added to (potential - spikes) * decay of the neurons before, and the decay."""
    total = potential.producer()
    if total is None or (total.domain, total.op_type) != ("", "Add"):
        return None
    for kept, added in (total.inputs, total.inputs[::-1]):
        product = kept.producer()
        if product is None or product.op_type != "Mul":
            continue
        left, factor = product.inputs
        decay, rest = constant(factor), left.producer()
        if decay is None or decay.size > 1 or rest is None or rest.op_type != "Sub":
            continue
        if list(rest.inputs) == [before.inputs[0], before.outputs[0]] and 0 < decay.item() < 1:
            return added, float(decay.item())
    return None
