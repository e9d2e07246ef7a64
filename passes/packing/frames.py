"""Frames stay bytes; the first layer reads them."""

from __future__ import annotations

import onnx_ir as ir

from hqc.dialect import DIALECT, find_op
from hqc.dialect.facts import Facts
from hqc.passes.axes import axes
from hqc.passes.graph import unsupported
from hqc.passes.packing.packed import Packed, Packing, packs


@packs("QuantizeFrames", domain=DIALECT)
def pack_frames(node: ir.Node, packing: Packing) -> Packed:
    """QuantizeFrames as it is."""
    shape = node.outputs[0].shape.numpy()
    if len(shape) != 5 or shape[1] != 1:
        raise unsupported(
            node, f"frames of shape {list(shape)}", "give frames [T, 1, C, H, W], one recording"
        )
    sizes = dict(zip("TCYX", (shape[0], *shape[2:]), strict=True))
    value = packing.builder.op(
        "QuantizeFrames",
        [packing.builder.inputs[0], packing.constant(node.inputs[1])],
        shape,
        node.outputs[0].dtype,
        name=node.name,
        domain=DIALECT,
        **find_op(node).attributes(node),
    )
    Facts.of(node.outputs[0]).write(value)
    view = axes(("T", sizes["T"]), None, *((root, sizes[root]) for root in "CYX"))
    return Packed(value, view, sizes, "frames")
