"""A transposed convolution is a convolution to blocks of pixels."""

from __future__ import annotations

import numpy as np

from hqc.passes.graph import constant, integer, ints
from hqc.passes.spellings.spelling import Rewrite, spelling


@spelling("ConvTranspose")
def transposed(rewrite: Rewrite) -> None:
    """ConvTranspose of stride s -> a Conv to s * s times the channels, those moved to their pixels.

    Output y + pad = q * s + r reads the weights r, r + s, ..., the last of them where x[q] is: each
    r is a convolution of its own. Weights are constant; without dilation, images only.
    """
    node = rewrite.node
    weights = constant(node.inputs[1])
    n, _, height, width = (*node.inputs[0].shape.numpy(), 0, 0)[:4]
    auto = node.attributes["auto_pad"].value if "auto_pad" in node.attributes else "NOTSET"
    if weights is None or weights.ndim != 4 or auto != "NOTSET":
        return
    if set(ints(node, "dilations", [1, 1])) != {1}:
        return
    group, strides = integer(node, "group", 1), ints(node, "strides", [1, 1])
    made = node.outputs[0].shape.numpy()
    outputs, begins = made[1], _begins(rewrite, weights.shape[2:], strides)
    if begins is None:
        return
    taps = [-(-k // s) for k, s in zip(weights.shape[2:], strides, strict=True)]
    needed = [-(-(b + m) // s) for b, m, s in zip(begins, made[2:], strides, strict=True)]
    blocks = [max(pair) for pair in zip(needed, (height, width), strict=True)]
    kernel = _kernel(weights, group, strides, taps)
    pads = [t - 1 for t in taps]
    ends = [q - size for q, size in zip(blocks, (height, width), strict=True)]
    given = [rewrite.node.inputs[0], rewrite.constant(kernel, "kernel")]
    if len(node.inputs) > 2:
        bias = constant(node.inputs[2])
        if bias is None:
            return
        given.append(rewrite.constant(np.repeat(bias, np.prod(strides)), "bias"))
    sizes = (n, outputs * strides[0] * strides[1], *blocks)
    attributes = {"kernel_shape": taps, "pads": [*pads, *ends], "group": group}
    phases = rewrite.op("Conv", given, sizes, **attributes)
    split = rewrite.reshape(phases, (n, outputs, *strides, *blocks), "phases")
    perm = [0, 1, 4, 2, 5, 3]
    turned = [split.shape.numpy()[i] for i in perm]
    pixels = rewrite.op("Transpose", [split], turned, what="turned", perm=perm)
    whole = [q * s for q, s in zip(blocks, strides, strict=True)]
    image = rewrite.reshape(pixels, (n, outputs, *whole), "image")
    bounds = [
        rewrite.constant(np.array(values, np.int64), what)
        for what, values in (
            ("starts", begins),
            ("ends", [b + m for b, m in zip(begins, made[2:], strict=True)]),
            ("axes", [2, 3]),
        )
    ]
    rewrite.finish(rewrite.op("Slice", [image, *bounds], made, what="inside"))


def _begins(rewrite: Rewrite, kernel: tuple[int, ...], strides: list[int]) -> list[int] | None:
    """What is cut off before the first row and column; None where that is not written."""
    node = rewrite.node
    if "output_shape" not in node.attributes:
        return ints(node, "pads", [0, 0, 0, 0])[:2]
    wanted, extra = node.attributes["output_shape"].value, ints(node, "output_padding", [0, 0])
    found = []
    sizes = zip(node.inputs[0].shape.numpy()[2:], kernel, strides, wanted[-2:], extra, strict=True)
    for size, taps, stride, out, more in sizes:
        total = stride * (size - 1) + more + taps - out
        if total < 0:
            return None
        found.append(total // 2)
    return found


def _kernel(weights: np.ndarray, group: int, strides: list[int], taps: list[int]) -> np.ndarray:
    """[outputs * s * s, inputs of a group, taps, taps] of weights [inputs, outputs, k, k]."""
    inputs, each = weights.shape[:2]
    padded = np.zeros((inputs, each, *(t * s for t, s in zip(taps, strides, strict=True))))
    padded[:, :, : weights.shape[2], : weights.shape[3]] = weights
    (ty, tx), (sy, sx) = taps, strides
    split = padded.reshape(group, inputs // group, each, ty, sy, tx, sx)[..., ::-1, :, ::-1, :]
    ordered = split.transpose(0, 2, 4, 6, 1, 3, 5)
    shape = (group * each * sy * sx, inputs // group, ty, tx)
    return ordered.reshape(shape).astype(np.float32)
