"""Parts of a tensor taken, joined and repeated: of its channels by words, else by tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from hqc.dialect.facts import Facts
from hqc.passes.axes import Axes, Factor, axes, named, resized, size_of, timeless
from hqc.passes.graph import constant, integer
from hqc.passes.packing.packed import Packed, Packing, packs


@packs("Slice")
def pack_slice(node: ir.Node, packing: Packing) -> Packed:
    """SliceChannels or SlicePotentials; TakeStep of one time step; of positions, a table."""
    x = packing.input(node)
    start, axis = (int(constant(node.inputs[i]).item()) for i in (1, 3))
    step = int(constant(node.inputs[4]).item()) if len(node.inputs) > 4 else 1
    if x.view[axis] == axes(("T", x.sizes["T"]))[0] and x.view[axis]:
        view = tuple(() if i == axis else f for i, f in enumerate(x.view))
        like, sizes = replace(packing.as_potentials(node, x), view=view), {**x.sizes, "T": 1}
        return packing.potentials(node, "TakeStep", [like.value], like, sizes, step=start)
    count = node.outputs[0].shape.numpy()[axis]
    view = resized(x.view, axis, count)
    taken = start + step * np.arange(count)
    if x.view[axis] != axes(("C", x.sizes["C"]))[0] or step != 1:
        place = [np.take(a, taken, axis) if a.shape[axis] > 1 else a for a in x.places]
        return packing.gathered(node, x, *place, view)
    sizes = {**x.sizes, "C": count}
    block = {"channels": x.sizes["C"], "first": start, "count": count}
    if x.kind == "potentials":
        like = replace(x, view=view)
        return packing.potentials(node, "SlicePotentials", [x.value], like, sizes, **block)
    planes = {"planes": x.planes}
    return packing.spikes(
        node, "SliceChannels", [x.value], view, sizes, x.planes, **block, **planes
    )


@packs("Gather")
def pack_gather(node: ir.Node, packing: Packing) -> Packed:
    """A table of those indices."""
    x, axis = packing.input(node), integer(node, "axis", 0)
    taken = constant(node.inputs[1])
    place = [np.take(a, taken, axis) if a.shape[axis] > 1 else a for a in x.places]
    return packing.gathered(node, x, *place, resized(x.view, axis, len(taken)))


@packs("Concat")
def pack_concat(node: ir.Node, packing: Packing) -> Packed:
    """ConcatChannels or ConcatPotentials; JoinPositions along another axis."""
    pair = [packing.input(node, i) for i in (0, 1)]
    axis = integer(node, "axis", 0)
    if any(x.kind == "potentials" for x in pair):
        pair = [packing.as_potentials(node, x) for x in pair]
    a, b = pair
    whole = all(x.view[axis] == axes(("C", x.sizes["C"]))[0] for x in pair)
    if not whole or _others(a.view, axis) != _others(b.view, axis):
        return _joined(node, packing, a, b, axis)
    channels = {"channels": a.sizes["C"], "others": b.sizes["C"]}
    sizes = {**a.sizes, "C": a.sizes["C"] + b.sizes["C"]}
    view = tuple((Factor("C", sizes["C"]),) if i == axis else f for i, f in enumerate(a.view))
    values = [a.value, b.value]
    if a.kind == "potentials":
        like = replace(a, view=view)
        return packing.potentials(node, "ConcatPotentials", values, like, sizes, **channels)
    planes = Facts.of(node.outputs[0]).highest.bit_length()
    return packing.spikes(
        node, "ConcatChannels", values, view, sizes, planes, **channels, planes=planes
    )


def _others(view: Axes, axis: int) -> Axes:
    return tuple(f for i, f in enumerate(view) if i != axis)


def _joined(node: ir.Node, packing: Packing, a: Packed, b: Packed, axis: int) -> Packed:
    """JoinPositions of the two, laid out so that the axis is their outermost position."""
    whole = axes(("C", a.sizes["C"]))[0]
    others = [i for i in timeless(a.view) if i != axis and a.view[i]]
    channels = [i for i in others if a.view[i] == whole] or others[-1:]
    planes = max(x.planes for x in (a, b)) if a.kind == "spikes" else 0
    parts = []
    for x in (a, b):
        more = planes if x.kind == "spikes" and x.planes < planes else 0
        x = packing.laid_out(node, x, named(x.view, channels, axis), more)
        flat = {**x.sizes, "Y": x.sizes["Y"] * x.sizes["X"], "X": 1}
        parts.append(packing.split(x, flat))
    size = node.outputs[0].shape.numpy()[axis]
    view = named(resized(a.view, axis, size), channels, axis)
    sizes = {root: size_of(view, root) for root in "CYX"} | {"T": a.sizes["T"]}
    flat = {**sizes, "Y": sizes["Y"] * sizes["X"], "X": 1}
    if a.kind == "potentials":
        made = packing.potentials(node, "JoinPositions", parts, replace(a, view=view), flat)
    else:
        made = packing.spikes(node, "JoinPositions", parts, view, flat, planes)
    return replace(made, value=packing.split(made, sizes), sizes=sizes)


@packs("Expand")
def pack_repeated(node: ir.Node, packing: Packing) -> Packed:
    """A table whose places repeat."""
    x = packing.input(node)
    view, shape = x.view, node.outputs[0].shape.numpy()
    for axis, (old, new) in enumerate(zip(node.inputs[0].shape.numpy(), shape, strict=True)):
        view = view if old == new else resized(view, axis, new)
    return packing.gathered(node, x, *x.places, view)
