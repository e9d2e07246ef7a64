"""Attention of packed q, k and v, up to its neurons."""

from __future__ import annotations

import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.dialect.fixed_point_lif import NAMES
from hqc.passes.packing.packed import Packed, Packing, packs


@packs("SpikeAttention", domain=DIALECT)
def pack_attention(node: ir.Node, packing: Packing) -> Packed:
    """PackedAttention."""
    q = packing.with_channels(node, packing.input(node), 3)
    k, v = (packing.laid_out(node, packing.input(node, i), q.view) for i in (1, 2))
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
