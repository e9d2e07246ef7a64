"""Neurons of several levels, on potentials."""

from __future__ import annotations

import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.dialect.facts import Facts
from hqc.passes.packing.packed import Packed, Packing, packs


@packs("FixedPointIntegerLIF", domain=DIALECT)
def pack_levels(node: ir.Node, packing: Packing) -> Packed:
    """PotentialLevels."""
    x = packing.as_potentials(node, packing.input(node))
    planes = Facts.of(node.outputs[0]).highest.bit_length()
    given = {name: attribute.value for name, attribute in node.attributes.items()}
    inputs = [x.value, *(packing.constant(v) for v in node.inputs[1:])]
    given |= {"channels": x.sizes["C"], "planes": planes}
    return packing.spikes(node, "PotentialLevels", inputs, x.view, x.sizes, planes, **given)
