"""A product of spikes is their AND."""

from __future__ import annotations

import onnx_ir as ir

from hqc.passes.axes import spell
from hqc.passes.graph import unsupported
from hqc.passes.packing.packed import Packed, Packing, packs


@packs("BitwiseAnd")
def pack_and(node: ir.Node, packing: Packing) -> Packed:
    """AndSpikes, with spikes of one shape or a mask of channels."""
    a, b = (packing.input(node, i) for i in (0, 1))
    if a.sizes["Y"] * a.sizes["X"] < b.sizes["Y"] * b.sizes["X"]:
        a, b = b, a
    everywhere = tuple(() if {f.root for f in axis} <= {"Y", "X"} else axis for axis in a.view)
    spikes = all(x.kind == "spikes" and x.planes == 1 for x in (a, b))
    if not spikes or b.view not in (a.view, everywhere):
        raise unsupported(
            node,
            f"it multiplies {a.kind} of the axes [{spell(a.view)}] and {b.kind} of "
            f"[{spell(b.view)}]; only spikes of the same axes, or spikes and a mask of their "
            "channels, are multiplied",
        )
    return packing.spikes(node, "AndSpikes", [a.value, b.value], a.view, a.sizes)
