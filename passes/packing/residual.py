"""Residual sums: of spikes in bit planes, of potentials as they are."""

from __future__ import annotations

import onnx_ir as ir

from hqc.dialect.facts import Facts
from hqc.passes.graph import constant, unsupported
from hqc.passes.packing.packed import Packed, Packing, channels_of, keeps_apart, packs
from hqc.passes.packing.positions import add_positions


@packs("Add")
def pack_add(node: ir.Node, packing: Packing) -> Packed:
    """AddPlanes or AddPotentials; AddPositions of a constant."""
    if constant(node.inputs[1]) is not None:
        return add_positions(node, packing)
    a, b = (packing.input(node, i) for i in (0, 1))
    facts = Facts.of(node.outputs[0])
    axis = channels_of(facts)
    if axis is not None and not keeps_apart(a, axis):
        a, b = b, a
    b = packing.laid_out(node, b, a.view)
    inputs = [a.value, b.value]
    if {a.kind, b.kind} == {"potentials"}:
        return packing.potentials(node, "AddPotentials", inputs, a)
    if {a.kind, b.kind} != {"spikes"}:
        raise unsupported(node, f"it adds {a.kind} and {b.kind}")
    planes = facts.highest.bit_length()
    attributes = {"channels": a.sizes["C"], "planes": planes}
    return packing.spikes(node, "AddPlanes", inputs, a.view, a.sizes, planes, **attributes)
