"""Time steps that an op mixes are positions for it; the rows that neurons scan are time steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.passes.axes import axes, joined, rows_as_steps, rows_outermost, size_of, spell
from hqc.passes.graph import mixes_time, unsupported
from hqc.passes.integer_rules.quantity import Lowering, Quantity

_CHANNELS = {1: 0, 4: 1, 5: 2}
"""Where channels are, by rank, in tensors that say nothing of them; else they are the last axis."""


def join_steps(node: ir.Node, lowering: Lowering) -> bool:
    """Let a node see all time steps of its inputs together; whether that changes any of them.

    What they are for other nodes stays.
    """
    found = {}
    for index, value in enumerate(node.inputs):
        x = lowering.env.get(value)
        if isinstance(x, Quantity) and size_of(x.view, "T") > 1:
            if x.kind in ("frames", "sums"):
                x = lowering.potentials(node, index)
            found[value] = together(node, lowering, x)
    lowering.env.update(found)
    return bool(found)


def together(node: ir.Node, lowering: Lowering, x: Quantity) -> Quantity:
    """Spikes or potentials whose time steps are positions."""
    like = replace(x, view=joined(x.view), weights=None)
    if x.value not in lowering.joined:
        name = f"{x.value.producer().name}/JoinSteps"
        lowering.joined[x.value] = lowering.emit(
            node, "JoinSteps", [x.value], like, x.value.dtype,
            name=name, domain=DIALECT, shape=x.shape,
        ).value  # fmt: skip
    return replace(like, value=lowering.joined[x.value])


def split_steps(
    node: ir.Node, lowering: Lowering, index: int, channels: int | None = None
) -> Quantity:
    """The node's input, which has no time in it, with the rows of its first axis as time steps.

    `channels` is the axis that is to be those of a step, where it matters which.
    """
    x = lowering.quantity(node, index)
    if channels is None:
        rank = len(x.shape)
        channels = x.channel_axis or _CHANNELS.get(rank, rank - 1)
    rows = rows_outermost(x.view, channels)
    x = lowering.regarded(node, index, rows)
    if x.kind in ("frames", "sums"):
        x = lowering.potentials(node, index).under(rows)
    made = lowering.emit(
        node,
        "SplitSteps",
        [x.value],
        replace(x, view=rows_as_steps(rows), weights=None),
        x.value.dtype,
        name=f"{node.name}/SplitSteps",
        domain=DIALECT,
        shape=x.shape,
        channels=channels,
    )
    lowering.env[node.inputs[index]] = made
    return made


def by_step(node: ir.Node, lowering: Lowering, index: int, why: str, hint: str) -> Quantity:
    """The node's input with time steps as its first axis, and nowhere else.

    Where it has no time in it, its rows are time steps, and where steps were mixed on the way to
    it. Raises `UnsupportedModelError`, which says why it must be so, where time is elsewhere.
    """
    x = lowering.quantity(node, index)
    steps = size_of(x.view, "T")
    if x.view[0] == axes(("T", steps))[0] and steps == x.shape[0]:
        return x
    if steps > 1 and any(n.op_type == "SplitSteps" for n in _before(x.value)):
        raise mixes_time(node, why, hint)
    if steps > 1:
        raise unsupported(node, why, hint)
    return split_steps(node, lowering, index)


def image(node: ir.Node, lowering: Lowering) -> Quantity:
    """The node's input as an image, [T, C, H, W]."""
    x = lowering.quantity(node, 0)
    steps = size_of(x.view, "T")
    if x.view[0] == axes(("T", steps))[0]:
        return lowering.regarded(node, 0, axes(*zip("TCYX", x.shape, strict=True)))
    if steps > 1:
        raise mixes_time(
            node,
            f"its input's axes are [{spell(x.view)}]",
            "give it images, [T, C, H, W] of one recording",
        )
    return split_steps(node, lowering, 0, channels=1)


def _before(value: ir.Value) -> Iterator[ir.Node]:
    """The nodes that a value is computed by."""
    pending, seen = [value], set[ir.Node]()
    while pending:
        node = pending.pop().producer()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            pending += [v for v in node.inputs if v is not None]
