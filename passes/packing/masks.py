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
    same = all(x.kind == "spikes" and x.planes == 1 for x in (a, b))
    everywhere = {**a.sizes, "Y": 1, "X": 1}
    if not same or b.sizes not in (a.sizes, everywhere):
        shapes = " and ".join(str(list(v.shape.numpy())) for v in node.inputs)
        raise unsupported(
            node,
            f"it multiplies {a.kind} and {b.kind} of shapes {shapes}; only spikes of one shape, or "
            "spikes and a mask of their channels, are multiplied",
        )
    if b.sizes == a.sizes and a.view != b.view:
        raise unsupported(
            node,
            f"its inputs differ in their axes, [{spell(a.view)}] and [{spell(b.view)}]",
            "permute one of them before",
        )
    return packing.spikes(node, "AndSpikes", [a.value, b.value], a.view, a.sizes)
