"""Channels taken, joined and spread."""

from __future__ import annotations

import math
from dataclasses import replace

import onnx_ir as ir

from hqc.dialect.facts import Facts
from hqc.passes.axes import Factor, reshape, size_of, spell
from hqc.passes.graph import constant, integer, unsupported
from hqc.passes.packing.packed import Packed, Packing, packs


@packs("Slice")
def pack_slice(node: ir.Node, packing: Packing) -> Packed:
    """SliceChannels or SlicePotentials; TakeStep of one time step."""
    x = packing.input(node)
    start, end, axis = (int(constant(v).item()) for v in node.inputs[1:4])
    if x.view[axis][0].root == "T":
        view = tuple(() if i == axis else f for i, f in enumerate(x.view))
        like, sizes = replace(packing.as_potentials(node, x), view=view), {**x.sizes, "T": 1}
        return packing.potentials(node, "TakeStep", [like.value], like, sizes, step=start)
    (factor,) = x.view[axis]
    first, count = start * factor.stride, (end - start) * factor.stride
    part = (Factor("C", end - start, factor.stride),) if end - start > 1 else ()
    view = tuple(part if i == axis else f for i, f in enumerate(x.view))
    sizes = {**x.sizes, "C": count}
    block = {"channels": x.sizes["C"], "first": first, "count": count}
    if x.kind == "potentials":
        like = replace(x, view=view)
        return packing.potentials(node, "SlicePotentials", [x.value], like, sizes, **block)
    planes = {"planes": x.planes}
    return packing.spikes(
        node, "SliceChannels", [x.value], view, sizes, x.planes, **block, **planes
    )


@packs("Concat")
def pack_concat(node: ir.Node, packing: Packing) -> Packed:
    """ConcatChannels or ConcatPotentials."""
    pair = [packing.input(node, i) for i in (0, 1)]
    axis = integer(node, "axis", 0)
    if any(x.kind == "potentials" for x in pair):
        pair = [packing.as_potentials(node, x) for x in pair]
    a, b = pair
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


@packs("Expand")
def pack_spread(node: ir.Node, packing: Packing) -> Packed:
    """SpreadChannels: of each head to all of its channels."""
    x = packing.input(node)
    before, shape = node.inputs[0].shape.numpy(), constant(node.inputs[1]).tolist()
    grown = [i for i, n in enumerate(shape) if n != before[i]]
    repeats, channels = math.prod(shape[i] for i in grown), x.sizes["C"]
    view, inner = [], repeats
    for i, factors in enumerate(x.view):
        outer = tuple(
            replace(f, stride=f.stride * repeats) if f.root == "C" else f for f in factors
        )
        inner = inner // shape[i] if i in grown else inner
        view.append((*outer, Factor("C", shape[i], inner)) if i in grown else outer)
    merged = tuple(view)
    if reshape(merged, shape) != merged or size_of(merged, "C") != channels * repeats:
        raise unsupported(node, f"it repeats [{spell(x.view)}] to {shape}")
    sizes = {**x.sizes, "C": channels * repeats}
    return packing.spikes(
        node,
        "SpreadChannels",
        [x.value],
        merged,
        sizes,
        x.planes,
        channels=channels,
        repeats=repeats,
        planes=x.planes,
    )
