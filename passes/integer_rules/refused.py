"""Ops that are not lowered, where more can be said than that."""

from __future__ import annotations

import onnx_ir as ir

from hqc.passes.axes import VIEWS
from hqc.passes.graph import ints, unsupported
from hqc.passes.integer_rules.quantity import Lowering
from hqc.passes.integer_rules.registry import rule


@rule("AveragePool", attributes=(
    "auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides",
))  # fmt: skip
def refuse_padding_alone(node: ir.Node, lowering: Lowering) -> None:
    """It is written as a convolution, but for windows of padding alone and ceilings of volumes."""
    window = ints(node, "kernel_shape", ())
    pads = ints(node, "pads", [0] * 2 * len(window))
    raise unsupported(
        node,
        f"its window is {list(window)}, padded by {list(pads)}",
        "pool in windows that are wider than their padding, volumes without ceil_mode",
    )


@rule("Softmax", "LogSoftmax", "ArgMax", attributes=("axis", "keepdims", "select_last_index"))
def refuse_ends(node: ir.Node, lowering: Lowering) -> None:
    """Refused: what is compiled gives logits, whose order is the same, and attention has none."""
    if _is_last(node.outputs[0]):
        raise unsupported(
            node, "the network ends in it", "leave it out: the logits say the same class"
        )
    raise unsupported(
        node,
        "it is inside the network",
        "spiking self-attention has none: train with neurons, or a constant scale, in its place",
    )


def _is_last(value: ir.Value) -> bool:
    """Whether a value is an output of the network, through views at most."""
    views = VIEWS | {"Identity", "Squeeze", "Unsqueeze", "Flatten"}
    return value.is_graph_output() or any(
        use.node.op_type in views and _is_last(use.node.outputs[0]) for use in value.uses()
    )
