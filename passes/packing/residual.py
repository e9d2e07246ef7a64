"""Residual sums: of spikes in bit planes, of potentials as they are."""

from __future__ import annotations

import onnx_ir as ir

from hqc.dialect.facts import Facts
from hqc.passes.axes import spell
from hqc.passes.graph import constant, unsupported
from hqc.passes.packing.packed import Packed, Packing, packs
from hqc.passes.packing.positions import add_positions


@packs("Add")
def pack_add(node: ir.Node, packing: Packing) -> Packed:
    """AddPlanes or AddPotentials; AddPositions of a constant."""
    if constant(node.inputs[1]) is not None:
        return add_positions(node, packing)
    a, b = (packing.input(node, i) for i in (0, 1))
    if spell(a.view) != Facts.of(node.outputs[0]).axes == spell(b.view):
        a, b = b, a
    b = packing.laid_out(node, b, a.view)
    inputs = [a.value, b.value]
    if {a.kind, b.kind} == {"potentials"}:
        return packing.potentials(node, "AddPotentials", inputs, a)
    if {a.kind, b.kind} != {"spikes"}:
        raise unsupported(node, f"it adds {a.kind} and {b.kind}")
    planes = Facts.of(node.outputs[0]).highest.bit_length()
    attributes = {"channels": a.sizes["C"], "planes": planes}
    return packing.spikes(node, "AddPlanes", inputs, a.view, a.sizes, planes, **attributes)
