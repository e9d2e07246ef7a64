"""Gemm of what lies otherwise than a linear layer's operands do."""

from __future__ import annotations

from hqc.passes.graph import constant, integer
from hqc.passes.spellings.spelling import Rewrite, spelling


@spelling("Gemm")
def of_columns(rewrite: Rewrite) -> None:
    """transA -> a Transpose before."""
    node = rewrite.node
    if not integer(node, "transA", 0):
        return
    a, *others = node.inputs
    turned = rewrite.transposed(a, "turned")
    made = node.outputs[0].shape.numpy()
    attributes = rewrite.attributes | {"transA": 0}
    rewrite.finish(rewrite.op("Gemm", [turned, *others], made, **attributes))


@spelling("Gemm")
def bias_by_row(rewrite: Rewrite) -> None:
    """A bias that differs by row -> an Add behind."""
    node = rewrite.node
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if bias is None or bias.size == 1 or bias.size == bias.shape[-1]:
        return
    beta = node.attributes["beta"].value if "beta" in node.attributes else 1.0
    made = node.outputs[0].shape.numpy()
    product = rewrite.op("Gemm", node.inputs[:2], made, what="product", **rewrite.attributes)
    rewrite.finish(rewrite.op("Add", [product, rewrite.constant(bias * beta, "bias")], made))
