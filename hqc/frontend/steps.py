"""What a module computes step by step, in a loop over time, as one op over all time steps.

A loop that torch unrolls leaves a copy of each layer a step, and a tensor that is put together of
what the steps gave: by Concat, by ScatterElements into zeros, by repeating one step's, or as their
sum. Where all copies are of one layer, which reads one step after the other, that layer reads all
of them. Nothing is approximated: what an op does with one step is what it does with each of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from hqc.frontend.first_axis import shows_frames
from hqc.frontend.lifted import Lifted, Together
from hqc.passes.graph import constant, integer


def find_steps(graph: ir.Graph) -> list[tuple[ir.Value, ir.Value]]:
    """Tensors that are put together of time steps, and ops over all of them, put before."""
    found = []
    lifted = Lifted(graph)
    for node in list(graph):
        for together in _put_together(node):
            whole = lifted.put_together(together)
            if whole is not None:
                graph.insert_before(node, lifted.take())
                found.append((node.outputs[0], whole))
                break
    return found


def _put_together(node: ir.Node) -> Iterator[Together]:
    """How a tensor may have been put together of more than one step."""
    if node.domain:
        return
    shape = node.outputs[0].shape
    if node.op_type in ("Concat", "Expand", "Tile") and shows_frames(node.inputs[0]):
        return  # an image that is repeated, or the steps of the input
    if node.op_type == "Concat":
        yield Together(tuple(node.inputs), integer(node, "axis", 0) % len(shape))
    elif node.op_type == "ScatterElements":
        parts = _scattered(node)
        if parts:
            yield Together(tuple(parts), 0)
    elif node.op_type in ("Expand", "Tile"):
        before, after = node.inputs[0].shape.numpy(), shape.numpy()
        if len(before) == len(after):
            grown = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
            if len(grown) == 1 and before[grown[0]] == 1 and grown[0] < 2:
                yield Together((node.inputs[0],) * after[grown[0]], grown[0])
    elif node.op_type == "Add":
        for side in (0, 1):
            yield from _sums(node, side)


def _sums(node: ir.Node, side: int) -> Iterator[Together]:
    """The terms of a sum, added up in turn; zeros that it began with are left out.

    The first term may be a sum itself, so that it is tried with ever fewer terms.
    """
    out = node.outputs[0]
    if any(
        use.node.op_type == "Add"
        and constant(use.node.inputs[1 - side]) is None
        and use.idx == side
        for use in out.uses()
    ):
        return  # not the last
    spine = [node]
    while (left := spine[-1].inputs[side].producer()) is not None and left.op_type == "Add":
        spine.append(left)
    spine.reverse()
    firsts = [spine[0].inputs[side], *(n.outputs[0] for n in spine)]
    for depth in range(len(spine)):
        terms = [firsts[depth], *(n.inputs[1 - side] for n in spine[depth:])]
        terms = [t for t in terms if (array := constant(t)) is None or array.any()]
        if len(set(terms)) > 1 and all(t.shape == out.shape for t in terms):
            yield Together(tuple(terms), None)


def _scattered(node: ir.Node) -> list[ir.Value] | None:
    """The tensors [1, ...] that are written one after the other, each to a place of its own."""
    if any(use.node.op_type == "ScatterElements" for use in node.outputs[0].uses()):
        return None  # not the last of a chain
    found: dict[int, ir.Value] = {}
    while node is not None and (node.domain, node.op_type) == ("", "ScatterElements"):
        data, indices, updates = node.inputs
        places = _places(indices)
        reduction = node.attributes.get("reduction")
        if integer(node, "axis", 0) or places is None:
            return None
        if reduction is not None and reduction.value != "none":
            return None
        step = places.flat[0]
        if places.shape != (1, *data.shape.numpy()[1:]) or np.any(places != step):
            return None
        found.setdefault(int(step) % data.shape.numpy()[0], updates)
        steps, node = data.shape.numpy()[0], data.producer()
    if len(found) < steps:
        return None
    return [found[step] for step in range(steps)]


def _places(indices: ir.Value) -> np.ndarray | None:
    """Constant indices; torch leaves those of large tensors to an Expand of a constant."""
    node = indices.producer()
    if node is not None and (node.domain, node.op_type) == ("", "Expand"):
        number, shape = (constant(v) for v in node.inputs)
        return None if number is None or shape is None else np.broadcast_to(number, shape)
    return constant(indices)
