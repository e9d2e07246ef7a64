"""Running sums along an axis, as of a read-out that adds up over time."""

from __future__ import annotations

import numpy as np

from hqc.dialect import DIALECT
from hqc.passes.graph import constant, integer
from hqc.passes.spellings.spelling import Rewrite, spelling


@spelling("CumSum")
def product(rewrite: Rewrite) -> None:
    """CumSum -> a product with a triangle of ones."""
    node = rewrite.node
    x, along = node.inputs[0], constant(node.inputs[1])
    shape = list(x.shape.numpy())
    if along is None or not shape:
        return
    axis = int(along) % len(shape)
    size = shape[axis]
    order = [*(i for i in range(len(shape)) if i != axis), axis]
    turned = [shape[i] for i in order]
    before = np.triu(np.ones((size, size), np.float32), integer(node, "exclusive", 0))
    before = before.T if integer(node, "reverse", 0) else before
    inputs = [rewrite.constant(before, "ones"), rewrite.constant(np.ones(1, np.float32), "one")]
    ones = rewrite.op("QuantUniform", inputs, (size, size), what="codes", domain=DIALECT, bits=2)
    last = order == sorted(order)
    x = x if last else rewrite.op("Transpose", [x], turned, what="turned", perm=order)
    y = rewrite.op("MatMul", [x, ones], turned, what="" if last else "sums")
    back = np.argsort(order).tolist()
    rewrite.finish(y if last else rewrite.op("Transpose", [y], shape, perm=back))
