"""Padding of any axes, by any constant, is zeros around images."""

from __future__ import annotations

import math

import numpy as np

from hqc.passes.graph import constant
from hqc.passes.spellings.spelling import Rewrite, spelling


@spelling("Pad")
def padded_otherwise(rewrite: Rewrite) -> None:
    """A constant that is not 0, negative amounts, `axes`, and axes that are not of an image.

    Pad(x, value) -> Pad(x - value) + value; what is cut off -> a Slice; other axes are permuted to
    the place of an image's, two at a time.
    """
    node = rewrite.node
    x, (amounts, value, axes) = node.inputs[0], (
        constant(node.inputs[i]) if len(node.inputs) > i else None for i in (1, 2, 3)
    )  # fmt: skip
    mode = node.attributes["mode"].value if "mode" in node.attributes else "constant"
    given = [v for v in node.inputs[1:] if v is not None]
    if mode != "constant" or any(constant(v) is None for v in given):
        return
    sizes = list(x.shape.numpy())
    around = np.zeros((2, len(sizes)), int)
    around[:, range(len(sizes)) if axes is None else axes] = amounts.reshape(2, -1)
    value = 0.0 if value is None else float(value)
    padded = [int(i) for i in np.flatnonzero((around > 0).any(0))]
    is_image = len(sizes) == 4 and set(padded) <= {2, 3}
    if is_image and value == 0 and axes is None and (around >= 0).all():
        return
    for axis in np.flatnonzero((around < 0).any(0)):
        first, last = (max(-int(n), 0) for n in around[:, axis])
        ends = zip(("start", "end", "axis"), (first, sizes[axis] - last, axis), strict=True)
        sizes[axis] -= first + last
        bounds = [rewrite.constant(np.array([n], np.int64), f"{n_}{axis}") for n_, n in ends]
        x = rewrite.op("Slice", [x, *bounds], sizes, what=f"cut {axis}")
    if value and padded:
        number = rewrite.constant(np.float32(-value), "less")
        x = rewrite.op("Add", [x, number], sizes, what="less")
    for number in range(0, len(padded), 2):
        pair = padded[number : number + 2]
        rest = [i for i in range(len(sizes)) if i not in pair]
        order = [*rest, *pair]
        if order != sorted(order):
            turned = [sizes[i] for i in order]
            x = rewrite.op("Transpose", [x], turned, what=f"turned {number}", perm=order)
        pixels = [1] * (2 - len(pair)) + [sizes[i] for i in pair]
        channels = math.prod(sizes[i] for i in rest[1:])
        images = [sizes[rest[0]] if rest else 1, channels]
        x = rewrite.reshape(x, [*images, *pixels], f"image {number}")
        ends = around[:, pair].clip(0)
        ends = np.concatenate([np.zeros((2, 4 - len(pair)), int), ends], 1)
        pixels = [n + a for n, a in zip(pixels, ends.sum(0)[2:].tolist(), strict=True)]
        pads = rewrite.constant(ends.reshape(-1), f"pads{number}")
        x = rewrite.op("Pad", [x, pads], [*images, *pixels], what=f"padded {number}")
        for i in pair:
            sizes[i] += int(around[:, i].clip(0).sum())
        x = rewrite.reshape(x, [sizes[i] for i in order], f"axes {number}")
        if order != sorted(order):
            back = np.argsort(order).tolist()
            x = rewrite.op("Transpose", [x], sizes, what=f"back {number}", perm=back)
    if value and padded:
        number = rewrite.constant(np.float32(value), "more")
        x = rewrite.op("Add", [x, number], sizes, what="more")
    rewrite.finish(rewrite.op("Identity", [x], sizes))
