"""What powers leave as it is: pools of a norm of 1, as LPPool2d writes them, are sums."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from hqc.passes.graph import constant
from hqc.passes.spellings.spelling import Rewrite, spelling


@spelling("Pow")
def by_one(rewrite: Rewrite) -> None:
    """x to the power of 1 -> x."""
    x, exponent = rewrite.node.inputs
    number, made = constant(exponent), rewrite.node.outputs[0].shape.numpy()
    if number is not None and (number == 1).all() and x.shape.numpy() == made:
        rewrite.finish(rewrite.op("Identity", [x], made))


@spelling("Sign", "Abs")
def sign_and_magnitude(rewrite: Rewrite) -> None:
    """The sign of x times its magnitude -> x, from whichever of both comes first."""
    x = rewrite.node.inputs[0]
    for product in _products(rewrite.node):
        whole = Rewrite(rewrite.graph, product)
        if {_part(v, x) for v in product.inputs} == {"Sign", "Abs"}:
            whole.finish(whole.op("Identity", [x], x.shape.numpy()))


def _products(node: ir.Node) -> Iterator[ir.Node]:
    """The products that read a node's output, rectified or not."""
    for user in [use.node for use in node.outputs[0].uses()]:
        if user.domain:
            continue
        if user.op_type == "Relu":
            yield from _products(user)
        elif user.op_type == "Mul":
            yield user


def _part(value: ir.Value, x: ir.Value) -> str | None:
    """Whether a factor is the sign or the magnitude of x; a magnitude may be rectified."""
    node = value.producer()
    if node is not None and (node.domain, node.op_type) == ("", "Relu"):
        node = node.inputs[0].producer()
        if node is None or node.op_type != "Abs":
            return None
    if node is None or node.domain or node.inputs[0] is not x:
        return None
    return node.op_type
