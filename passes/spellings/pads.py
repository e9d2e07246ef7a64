"""Padding of any axes, by any constant, is zeros around images."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from hqc.passes.graph import constant
from hqc.passes.spellings.spelling import Rewrite, spelling


@spelling("Pad")
def padded_otherwise(rewrite: Rewrite) -> None:
    """A constant that is not 0, negative amounts, `axes`, and axes that are not of an image.

    Pad(x, value) -> Pad(x - value) + value; what is cut off -> a Slice; other axes are permuted to
    the place of an image's, two at a time.
    """
    node = rewrite.node
    mode = node.attributes["mode"].value if "mode" in node.attributes else "constant"
    if mode != "constant" or any(v is not None and constant(v) is None for v in node.inputs[1:]):
        return
    sizes = list(node.inputs[0].shape.numpy())
    amounts, value, axes = (
        constant(node.inputs[i]) if len(node.inputs) > i else None for i in (1, 2, 3)
    )
    around = np.zeros((2, len(sizes)), int)
    around[:, range(len(sizes)) if axes is None else axes] = amounts.reshape(2, -1)
    value = 0.0 if value is None else float(value)
    cut, added = np.minimum(around, 0), np.maximum(around, 0)
    padded = np.flatnonzero(added.any(0)).tolist()
    is_image = len(sizes) == 4 and set(padded) <= {2, 3}
    if is_image and value == 0 and axes is None and not cut.any():
        return
    x = _without(rewrite, node.inputs[0], sizes, -cut)
    if value and padded:
        x = _plus(rewrite, x, -value, "less")
    for first in range(0, len(padded), 2):
        x = _padded(rewrite, x, padded[first : first + 2], added, str(first))
    if value and padded:
        x = _plus(rewrite, x, value, "more")
    rewrite.finish(rewrite.op("Identity", [x], x.shape.numpy()))


def _plus(rewrite: Rewrite, x: ir.Value, number: float, what: str) -> ir.Value:
    term = rewrite.constant(np.float32(number), what)
    return rewrite.op("Add", [x, term], x.shape.numpy(), what=what)


def _without(rewrite: Rewrite, x: ir.Value, sizes: list[int], cut: np.ndarray) -> ir.Value:
    """x without so much at both ends of each axis."""
    for axis in np.flatnonzero(cut.any(0)).tolist():
        first, last = cut[:, axis].tolist()
        bounds = [
            rewrite.constant(np.array([n], np.int64), f"{name}{axis}")
            for name, n in (("start", first), ("end", sizes[axis] - last), ("axis", axis))
        ]
        shape = list(x.shape.numpy())
        shape[axis] -= first + last
        x = rewrite.op("Slice", [x, *bounds], shape, what=f"cut {axis}")
    return x


def _padded(
    rewrite: Rewrite, x: ir.Value, axes: list[int], added: np.ndarray, what: str
) -> ir.Value:
    """x with zeros added along one axis or two, as those of an image [N, C, H, W]."""
    sizes = list(x.shape.numpy())
    rest = [i for i in range(len(sizes)) if i not in axes]
    order = [*rest, *axes]
    turns = order != sorted(order)
    if turns:
        turned = [sizes[i] for i in order]
        x = rewrite.op("Transpose", [x], turned, what=f"turned {what}", perm=order)
    images = [sizes[rest[0]] if rest else 1, math.prod(sizes[i] for i in rest[1:])]
    pixels = [1] * (2 - len(axes)) + [sizes[i] for i in axes]
    x = rewrite.reshape(x, [*images, *pixels], f"image {what}")
    ends = np.zeros((2, 4), np.int64)
    ends[:, 4 - len(axes) :] = added[:, axes]
    pads = rewrite.constant(ends.reshape(-1), f"pads{what}")
    whole = [n + more for n, more in zip([*images, *pixels], ends.sum(0).tolist(), strict=True)]
    x = rewrite.op("Pad", [x, pads], whole, what=f"padded {what}")
    for i in axes:
        sizes[i] += int(added[:, i].sum())
    x = rewrite.reshape(x, [sizes[i] for i in order], f"axes {what}")
    if turns:
        back = np.argsort(order).tolist()
        x = rewrite.op("Transpose", [x], sizes, what=f"back {what}", perm=back)
    return x
