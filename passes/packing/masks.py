"""Products element by element: of spikes their AND, or XOR of that; of potentials and spikes."""

from __future__ import annotations

import onnx_ir as ir

from hqc.passes.axes import Axes, named, size_of, timeless
from hqc.passes.packing.packed import Packed, Packing, packs


@packs("BitwiseAnd")
def pack_and(node: ir.Node, packing: Packing) -> Packed:
    """AndSpikes, with spikes of one shape or a mask of channels."""
    a, b = (packing.input(node, i) for i in (0, 1))
    shapes = [v.shape.numpy() for v in node.inputs]
    if shapes[0] != node.outputs[0].shape.numpy():
        (a, b), shapes = (b, a), shapes[::-1]
    kept = [i for i, (n, m) in enumerate(zip(*shapes, strict=True)) if n == m]
    if not _is_mask(a, _only(a.view, kept)):
        a = packing.laid_out(node, a, named(a.view, [i for i in timeless(a.view) if i in kept]))
    b = packing.laid_out(node, b, _only(a.view, kept))
    return packing.spikes(node, "AndSpikes", [a.value, b.value], a.view, a.sizes)


@packs("BitwiseXor")
def pack_xor(node: ir.Node, packing: Packing) -> Packed:
    """XorSpikes, of spikes of one shape."""
    a, b = (packing.input(node, i) for i in (0, 1))
    a = packing.laid_out(node, a, a.view)
    b = packing.laid_out(node, b, a.view)
    return packing.spikes(node, "XorSpikes", [a.value, b.value], a.view, a.sizes)


@packs("Mul")
def pack_gate(node: ir.Node, packing: Packing) -> Packed:
    """GatePotentials."""
    a, b = (packing.input(node, i) for i in (0, 1))
    x, gate = (a, b) if b.kind == "spikes" else (b, a)
    x = packing.as_potentials(node, x)
    gate = packing.laid_out(node, gate, x.view)
    channels = x.sizes["C"]
    return packing.potentials(node, "GatePotentials", [x.value, gate.value], x, channels=channels)


def _only(view: Axes, kept: list[int]) -> Axes:
    """The view of a tensor that is the same along all other axes."""
    return tuple(axis if i in kept else () for i, axis in enumerate(view))


def _is_mask(a: Packed, view: Axes) -> bool:
    """Whether a view has all of what a has, or all but its positions."""
    positions, whole = size_of(view, "Y") * size_of(view, "X"), a.sizes["Y"] * a.sizes["X"]
    return size_of(view, "C") == a.sizes["C"] and positions in (1, whole)
