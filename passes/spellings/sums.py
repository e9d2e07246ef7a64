"""Sums and means of several tensors are sums of two; sums of magnitudes are sums."""

from __future__ import annotations

import numpy as np

from hqc.passes.spellings.spelling import Rewrite, spelling


@spelling("Sum", "Mean")
def several(rewrite: Rewrite) -> None:
    """a + b + c -> (a + b) + c; a mean is that times one over their number."""
    node = rewrite.node
    shape = node.outputs[0].shape.numpy()
    total, *others = node.inputs
    if any(x.shape.numpy() != shape for x in node.inputs):
        return
    for number, x in enumerate(others, 2):
        total = rewrite.op("Add", [total, x], shape, what=f"first {number}")
    factor = 1 / len(node.inputs) if node.op_type == "Mean" else 1
    if factor == 1:
        rewrite.finish(rewrite.op("Identity", [total], shape))
    else:
        scale = rewrite.constant(np.float32(factor), "share")
        rewrite.finish(rewrite.op("Mul", [total, scale], shape))


@spelling("ReduceL1")
def magnitudes(rewrite: Rewrite) -> None:
    """A sum of magnitudes -> ReduceSum of Abs."""
    node = rewrite.node
    x = node.inputs[0]
    parts = [rewrite.op("Abs", [x], x.shape.numpy(), what="magnitudes"), *node.inputs[1:]]
    made = node.outputs[0].shape.numpy()
    rewrite.finish(rewrite.op("ReduceSum", parts, made, **rewrite.attributes))
