"""Ops that are not lowered, where more can be said than that."""

from __future__ import annotations

import onnx_ir as ir

from hqc.passes.graph import ints, unsupported
from hqc.passes.integer_rules.quantity import Lowering, rule


@rule("AveragePool", attributes=(
    "auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides",
))  # fmt: skip
def refuse_uneven_means(node: ir.Node, lowering: Lowering) -> None:
    """Refused where windows hold different numbers of pixels; else written as a convolution."""
    window, pads = ints(node, "kernel_shape", ()), ints(node, "pads", [])
    raise unsupported(
        node,
        f"the mean of its windows, {window} padded by {pads}, is over fewer pixels at the border",
        "let it count padding (count_include_pad), and its windows end with the image",
    )


@rule("Softmax", "LogSoftmax", "ArgMax", attributes=("axis", "keepdims", "select_last_index"))
def refuse_ends(node: ir.Node, lowering: Lowering) -> None:
    """Refused: what is compiled gives logits, whose order is the same."""
    raise unsupported(node, "the network ends in it", "leave it out: the logits say the same class")
