"""Differences and negatives are sums with -1 times something."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.passes.graph import constant
from hqc.passes.spellings.spelling import Rewrite, spelling


def _negative(rewrite: Rewrite, x: ir.Value, what: str = "") -> ir.Value:
    minus_one = rewrite.constant(np.float32(-1), "minus_one")
    return rewrite.op("Mul", [x, minus_one], x.shape.numpy(), what=what)


@spelling("Neg")
def negative(rewrite: Rewrite) -> None:
    """-x -> x * -1."""
    rewrite.finish(_negative(rewrite, rewrite.node.inputs[0]))


@spelling("Sub")
def difference(rewrite: Rewrite) -> None:
    """a - b -> a + b * -1, where b is an activation."""
    a, b = rewrite.node.inputs
    if constant(b) is not None:
        return
    pair = [a, _negative(rewrite, b, "negative")]
    rewrite.finish(rewrite.op("Add", pair, rewrite.node.outputs[0].shape.numpy()))


@spelling("ReduceMin")
def least(rewrite: Rewrite) -> None:
    """The least along axes -> less the largest of what is negated."""
    node = rewrite.node
    given = [_negative(rewrite, node.inputs[0], "negative"), *node.inputs[1:]]
    made = node.outputs[0].shape.numpy()
    largest = rewrite.op("ReduceMax", given, made, what="largest", **rewrite.attributes)
    rewrite.finish(_negative(rewrite, largest))
