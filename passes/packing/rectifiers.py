"""Potentials above 0."""

from __future__ import annotations

import onnx_ir as ir

from hqc.passes.packing.packed import Packed, Packing, packs


@packs("Relu")
def pack_relu(node: ir.Node, packing: Packing) -> Packed:
    """ReluPotentials."""
    x = packing.as_potentials(node, packing.input(node))
    return packing.potentials(node, "ReluPotentials", [x.value], x)
