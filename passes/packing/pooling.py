"""Max pooling: an OR of packed spikes, the largest of potentials."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.passes.packing.packed import Packed, Packing, image, packs


@packs("OrPool", "IntegerMaxPool", domain=DIALECT)
def pack_pool(node: ir.Node, packing: Packing) -> Packed:
    """PackedPool or PoolPotentials."""
    x = packing.image(node)
    _, _, height, width = node.outputs[0].shape.numpy()
    sizes = {**x.sizes, "Y": height, "X": width}
    pooled = replace(x, view=image(sizes))
    window = {name: node.attributes[name].value for name in ("kernel_shape", "strides", "pads")}
    if x.kind == "potentials":
        return packing.potentials(node, "PoolPotentials", [x.value], pooled, sizes, **window)
    return packing.spikes(
        node, "PackedPool", [x.value], pooled.view, sizes, channels=sizes["C"], **window
    )
