"""Attention of packed q, k and v, up to its neurons."""

from __future__ import annotations

import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.dialect.fixed_point_lif import NAMES
from hqc.passes.axes import axes, flatten, spell
from hqc.passes.graph import unsupported
from hqc.passes.packing.packed import Packed, Packing, packs


@packs("SpikeAttention", domain=DIALECT)
def pack_attention(node: ir.Node, packing: Packing) -> Packed:
    """PackedAttention."""
    q, k, v = (packing.input(node, i) for i in range(3))
    position = flatten(axes(("Y", q.sizes["Y"]), ("X", q.sizes["X"])))
    time, batch, channels = axes(("T", q.sizes["T"]), None, ("C", q.sizes["C"]))
    if any(x.view != (time, batch, position, channels) for x in (q, k, v)):
        views = ", ".join(f"[{spell(x.view)}]" for x in (q, k, v))
        raise unsupported(
            node,
            f"the axes of q, k and v are {views}, not those of tokens, [T 1 Y*X C]",
            "give attention tokens [T, N, L, D], of channels D",
        )
    parameters = [packing.constant(value) for value in node.inputs[3:]]
    attributes = {name: node.attributes[name].value for name in (*NAMES, "heads")}
    return packing.spikes(
        node,
        "PackedAttention",
        [q.value, k.value, v.value, *parameters],
        q.view,
        q.sizes,
        channels=q.sizes["C"],
        **attributes,
    )
