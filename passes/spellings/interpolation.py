"""Resizing between pixels is a product with a matrix along each axis."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.passes.graph import constant
from hqc.passes.spellings.moves import alone, mode_of, runtimes_differ
from hqc.passes.spellings.spelling import Rewrite, spelling
from hqc.reference import ReferenceSession

_EXACT = 1e-5
"""Of the largest number: what float32 loses on a few sums."""


@spelling("Resize")
def matrices(rewrite: Rewrite) -> None:
    """Resize, linear or cubic -> a product with a constant matrix along each axis that it changes.

    The node is run on a pixel at a time, and on noise to see that the products are what it does.
    """
    node = rewrite.node
    x, y = node.inputs[0], node.outputs[0]
    if any(v is not None and constant(v) is None for v in node.inputs[1:]):
        return
    if mode_of(node) == "nearest" or len(x.shape) != len(y.shape) or runtimes_differ(node):
        return
    found = _matrices(node)
    if found is None:
        return
    sizes, last = list(x.shape.numpy()), len(x.shape) - 1
    for axis, matrix in found.items():
        order = [*(i for i in range(last + 1) if i != axis), axis]
        turned = [sizes[i] for i in order]
        if axis != last:
            x = rewrite.op("Transpose", [x], turned, what=f"turned {axis}", perm=order)
        weights = rewrite.constant(matrix, f"matrix{axis}")
        turned[-1] = sizes[axis] = matrix.shape[1]
        x = rewrite.op("MatMul", [x, weights], turned, what=f"along {axis}")
        if axis != last:
            back = np.argsort(order).tolist()
            x = rewrite.op("Transpose", [x], sizes, what=f"back {axis}", perm=back)
    rewrite.finish(rewrite.op("Identity", [x], sizes))


def _matrices(node: ir.Node) -> dict[int, np.ndarray] | None:
    """What each axis that changes is multiplied by, [before, after]; None if that is not all."""
    before, after = (v.shape.numpy() for v in (node.inputs[0], node.outputs[0]))
    session = ReferenceSession(alone(node))
    found = {}
    for axis, (size, made) in enumerate(zip(before, after, strict=True)):
        if size == made:
            continue
        rows = np.empty((size, made), np.float32)
        for i in range(size):
            pixel = np.zeros(before, np.float32)
            np.moveaxis(pixel, axis, 0)[i] = 1
            (seen,) = session.run({"x": pixel})
            rows[i] = np.moveaxis(seen, axis, 0).reshape(made, -1)[:, 0]
        found[axis] = rows
    noise = np.random.default_rng(0).normal(size=before).astype(np.float32)
    (expected,) = session.run({"x": noise})
    product = noise
    for axis, rows in found.items():
        product = np.moveaxis(np.moveaxis(product, axis, -1) @ rows, -1, axis)
    close = np.abs(product - expected).max(initial=0) <= _EXACT * np.abs(expected).max(initial=0)
    return found if found and close else None
