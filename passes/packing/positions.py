"""A border around potentials, and numbers by position."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from hqc.dialect.layouts import WORD
from hqc.passes.graph import constant
from hqc.passes.packing.packed import Packed, Packing, image, packs


@packs("Pad")
def pack_border(node: ir.Node, packing: Packing) -> Packed:
    """PadPotentials."""
    x = packing.as_potentials(node, packing.image(node))
    _, _, top, left, _, _, bottom, right = (int(n) for n in constant(node.inputs[1]))
    _, _, height, width = node.outputs[0].shape.numpy()
    sizes = {**x.sizes, "Y": height, "X": width}
    like, pads = replace(x, view=image(sizes)), [top, left, bottom, right]
    return packing.potentials(node, "PadPotentials", [x.value], like, sizes, pads=pads)


def add_positions(node: ir.Node, packing: Packing) -> Packed:
    """AddPositions, whose numbers lie as potentials do."""
    x = packing.as_potentials(node, packing.input(node))
    factors = [f for axis in x.view for f in axis]
    wide = np.broadcast_to(constant(node.inputs[1]), node.inputs[0].shape.numpy())
    parts = wide.reshape([f.size for f in factors])
    order = sorted(
        range(len(factors)), key=lambda i: ("TYXC".index(factors[i].root), -factors[i].stride)
    )
    by_root = parts.transpose(order).reshape([x.sizes[root] for root in "TYXC"])
    spare = [(0, 0), (0, 0), (0, -x.sizes["C"] % WORD)]
    numbers = packing.builder.initializer(np.pad(by_root[0], spare), f"{node.name}.numbers")
    return packing.potentials(node, "AddPositions", [x.value, numbers], x)
