"""A product of spikes is their AND."""

from __future__ import annotations

import onnx_ir as ir

from hqc.passes.graph import unsupported
from hqc.passes.packing.packed import Packed, Packing, packs


@packs("BitwiseAnd")
def pack_and(node: ir.Node, packing: Packing) -> Packed:
    """AndSpikes, with spikes of one shape or a mask of channels."""
    a, b = (packing.input(node, i) for i in (0, 1))
    if a.sizes["Y"] * a.sizes["X"] < b.sizes["Y"] * b.sizes["X"]:
        a, b = b, a
    same = all(x.kind == "spikes" and x.planes == 1 for x in (a, b))
    everywhere = {**a.sizes, "Y": 1, "X": 1}
    if not same or b.sizes not in (a.sizes, everywhere):
        raise unsupported(node, "only spikes of one shape, or of a mask of channels, are joined")
    if b.sizes == a.sizes and a.view != b.view:
        raise unsupported(node, "its inputs have different axes")
    return packing.spikes(node, "AndSpikes", [a.value, b.value], a.view, a.sizes)
