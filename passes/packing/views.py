"""Views vanish: their axes are followed."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from hqc.passes.axes import VIEWS, through_view
from hqc.passes.packing.packed import Packed, Packing, Sums, packs


@packs(*sorted(VIEWS))
def follow_view(node: ir.Node, packing: Packing) -> Packed | Sums:
    """The same value under other axes; refused where a kernel would need a copy."""
    source = packing.env[node.inputs[0]]
    return replace(source, view=through_view(node, source.view))
