"""Views vanish: their axes are followed."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from hqc.passes.axes import VIEWS, that_reshapes, through_view
from hqc.passes.packing.packed import Packed, Packing, Sums, packs


@packs(*sorted(VIEWS))
def follow_view(node: ir.Node, packing: Packing) -> Packed | Sums:
    """The same value under other axes.

    Where a Reshape mixes parts of axes, its numbers are laid out as the channels of one position.
    """
    source = packing.env[node.inputs[0]]
    if node.op_type == "Reshape" and isinstance(source, Packed):
        own = that_reshapes(source.view, node.outputs[0].shape.numpy())
        if own != source.view:
            source = packing.laid_out(node, packing.input(node), own)
    return replace(source, view=through_view(node, source.view))
