"""Windows of three dimensions [N, C, D, H, W], as of time, height and width: as those of images."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.passes.graph import constant, integer, ints
from hqc.passes.spellings.spelling import Rewrite, spelling


@spelling("Conv")
def convolved(rewrite: Rewrite) -> None:
    """A window of [N, C, D, H, W] -> one along images, of the channels of all its taps along D."""
    node = rewrite.node
    x, weights, *bias = node.inputs
    if len(x.shape) != 5 or "auto_pad" in node.attributes:
        return
    outputs, inputs, taps, *kernel = weights.shape.numpy()
    n, channels, _, *size = x.shape.numpy()
    made = node.outputs[0].shape.numpy()
    strides, dilations = (ints(node, name, [1] * 3) for name in ("strides", "dilations"))
    pads, group = ints(node, "pads", [0] * 6), integer(node, "group", 1)

    x = _permuted(rewrite, x, (0, 2, 1, 3, 4), "by depth")
    if pads[0] or pads[3]:
        whole = list(x.shape.numpy())
        whole[1] += pads[0] + pads[3]
        ends = rewrite.constant(np.array([0, pads[0], 0, 0, 0, 0, pads[3], 0, 0, 0]), "ends")
        x = rewrite.op("Pad", [x, ends], whole, what="padded")
    first = np.arange(made[2]) * strides[0]
    places = (first[:, None] + np.arange(taps) * dilations[0]).reshape(-1)
    x = _taken(rewrite, x, places)
    x = rewrite.reshape(x, (n * made[2], taps, group, channels // group, *size), "taps")
    x = _permuted(rewrite, x, (0, 2, 1, 3, 4, 5), "by group")
    x = rewrite.reshape(x, (n * made[2], taps * channels, *size), "images")
    weights = _permuted(rewrite, weights, (0, 2, 1, 3, 4), "kernel by tap")
    weights = rewrite.reshape(weights, (outputs, taps * inputs, *kernel), "kernel")
    y = rewrite.op(
        "Conv",
        [x, weights, *bias],
        (n * made[2], outputs, *made[3:]),
        kernel_shape=kernel,
        strides=strides[1:],
        dilations=dilations[1:],
        pads=[*pads[1:3], *pads[4:]],
        group=group,
    )
    y = rewrite.reshape(y, (n, made[2], outputs, *made[3:]), "volume")
    rewrite.finish(_permuted(rewrite, y, (0, 2, 1, 3, 4), "in order"))


@spelling("MaxPool")
def largest(rewrite: Rewrite) -> None:
    """A window of [N, C, D, H, W] -> one along images, then the largest of its taps along D."""
    node = rewrite.node
    x = node.inputs[0]
    taps, *kernel = ints(node, "kernel_shape", ())
    if len(x.shape) != 5 or len(node.outputs) > 1:
        return
    if integer(node, "ceil_mode", 0) or "auto_pad" in node.attributes:
        return
    strides, dilations = (ints(node, name, [1] * 3) for name in ("strides", "dilations"))
    pads = ints(node, "pads", [0] * 6)
    if (taps, strides[0], pads[0], pads[3]) == (1, 1, 0, 0):
        return  # flat already
    n, channels, depth, *_ = x.shape.numpy()
    *_, made, height, width = node.outputs[0].shape.numpy()
    places = np.arange(made)[:, None] * strides[0] + np.arange(taps) * dilations[0] - pads[0]
    within = (places >= 0) & (places < depth)
    if not within.any(1).all():
        return  # a window of padding alone
    flat = {
        "kernel_shape": [1, *kernel],
        "strides": [1, *strides[1:]],
        "dilations": [1, *dilations[1:]],
        "pads": [0, *pads[1:3], 0, *pads[4:]],
    }
    x = rewrite.op("MaxPool", [x], (n, channels, depth, height, width), what="flat", **flat)
    x = _permuted(rewrite, x, (0, 2, 1, 3, 4), "by depth")
    some = np.take_along_axis(places, within.argmax(1)[:, None], 1)
    x = _taken(rewrite, x, np.where(within, places, some).reshape(-1))  # padding is never largest
    x = rewrite.reshape(x, (n, made, taps, channels, height, width), "taps")
    axis = rewrite.constant(np.array([2]), "axis")
    shape = (n, made, channels, height, width)
    x = rewrite.op("ReduceMax", [x, axis], shape, what="largest", keepdims=0)
    rewrite.finish(_permuted(rewrite, x, (0, 2, 1, 3, 4), ""))


def _taken(rewrite: Rewrite, x: ir.Value, places: np.ndarray) -> ir.Value:
    """Some of [N, D, ...] along D."""
    n, depth, *rest = x.shape.numpy()
    if np.array_equal(places, np.arange(depth)):
        return x
    indices = rewrite.constant(places, "places")
    return rewrite.op("Gather", [x, indices], (n, len(places), *rest), what="taken", axis=1)


def _permuted(rewrite: Rewrite, x: ir.Value, perm: tuple[int, ...], what: str) -> ir.Value:
    """x with its axes permuted; of a constant, a constant."""
    array = constant(x)
    if array is not None:
        return rewrite.constant(array.transpose(perm).copy(), what)
    shape = [x.shape.numpy()[i] for i in perm]
    return rewrite.op("Transpose", [x], shape, what=what, perm=perm)
