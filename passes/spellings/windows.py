"""Convolutions and pools of one or three dimensions, and means of windows: as those of images."""

from __future__ import annotations

import math

import numpy as np

from hqc.dialect import DIALECT
from hqc.passes.graph import constant, integer, ints
from hqc.passes.spellings.spelling import Rewrite, spelling

_POOLS = ("MaxPool", "AveragePool")


def _window(rewrite: Rewrite) -> list[int]:
    """The sizes of the node's window."""
    node = rewrite.node
    weights = node.inputs[1].shape.numpy()[2:] if node.op_type == "Conv" else ()
    return ints(node, "kernel_shape", weights)


@spelling("Conv", *_POOLS)
def lines_as_images(rewrite: Rewrite) -> None:
    """A window along lines [N, C, L] -> one along images of height 1."""
    node = rewrite.node
    x, y = node.inputs[0], node.outputs[0]
    if len(x.shape) != 3 or len(node.outputs) > 1:
        return
    inputs = list(node.inputs)
    if node.op_type == "Conv":
        outputs, channels, taps = node.inputs[1].shape.numpy()
        inputs[1] = rewrite.reshape(node.inputs[1], (outputs, channels, 1, taps), "kernel")
    n, c, length = x.shape.numpy()
    inputs[0] = rewrite.reshape(x, (n, c, 1, length), "image")
    attributes = {a.name: a.value for a in node.attributes.values()}
    attributes["kernel_shape"] = [1, *_window(rewrite)]
    for name in ("strides", "dilations"):
        if name in attributes:
            attributes[name] = [1, *attributes[name]]
    if "pads" in attributes:
        begin, end = attributes["pads"]
        attributes["pads"] = [0, begin, 0, end]
    made = y.shape.numpy()
    wide = rewrite.op(node.op_type, inputs, (*made[:2], 1, made[2]), **attributes)
    rewrite.finish(rewrite.reshape(wide, made, "line"))


@spelling(*_POOLS)
def flat_volumes(rewrite: Rewrite) -> None:
    """A window of [N, C, D, H, W] that is 1 along D -> one along images [N, C * D, H, W].

    Published code pools [T, N, C, H, W] so.
    """
    node = rewrite.node
    x, y = node.inputs[0], node.outputs[0]
    if len(x.shape) != 5 or len(node.outputs) > 1 or _window(rewrite)[0] != 1:
        return
    attributes = {a.name: a.value for a in node.attributes.values()}
    pads = attributes.get("pads", [0] * 6)
    outer = (pads[0], pads[3], attributes.get("strides", [1])[0] - 1)
    if any(outer):
        return
    n, c, d, *size = x.shape.numpy()
    image = rewrite.reshape(x, (n, c * d, *size), "image")
    for name in ("kernel_shape", "strides", "dilations"):
        if name in attributes:
            attributes[name] = attributes[name][1:]
    attributes["pads"] = [*pads[1:3], *pads[4:]]
    made = y.shape.numpy()
    pooled = rewrite.op(node.op_type, [image], (n, c * d, *made[3:]), **attributes)
    rewrite.finish(rewrite.reshape(pooled, made, "volume"))


@spelling(*_POOLS)
def written_ceilings(rewrite: Rewrite) -> None:
    """`ceil_mode` -> the padding at the end that it stands for, where no mean counts it."""
    node = rewrite.node
    if not integer(node, "ceil_mode", 0) or len(node.inputs[0].shape) != 4 or len(node.outputs) > 1:
        return
    kernel = _window(rewrite)
    pads = ints(node, "pads", [0] * 4)
    sizes, made = (v.shape.numpy()[2:] for v in (node.inputs[0], node.outputs[0]))
    strides, dilations = (ints(node, n, [1, 1]) for n in ("strides", "dilations"))
    reach = [
        (m - 1) * s + (k - 1) * d + 1
        for m, s, k, d in zip(made, strides, kernel, dilations, strict=True)
    ]
    missing = [
        max(r - n - a - b, 0) for r, n, a, b in zip(reach, sizes, pads[:2], pads[2:], strict=True)
    ]
    if any(missing) and node.op_type == "AveragePool":
        return
    attributes = {a.name: a.value for a in node.attributes.values() if a.name != "ceil_mode"}
    attributes["pads"] = [*pads[:2], *(a + b for a, b in zip(pads[2:], missing, strict=True))]
    rewrite.finish(
        rewrite.op(node.op_type, node.inputs, node.outputs[0].shape.numpy(), **attributes)
    )


@spelling("AveragePool")
def sums_of_windows(rewrite: Rewrite) -> None:
    """AveragePool -> a depthwise convolution of ones, over how many there are."""
    node = rewrite.node
    x = node.inputs[0]
    pads = ints(node, "pads", [0] * 4)
    if len(x.shape) != 4 or integer(node, "ceil_mode", 0) or "auto_pad" in node.attributes:
        return
    if any(pads) and not integer(node, "count_include_pad", 0):
        return
    channels, kernel = x.shape.numpy()[1], _window(rewrite)
    made = node.outputs[0].shape.numpy()
    ones = rewrite.constant(np.ones((channels, 1, *kernel), np.float32), "ones")
    one = rewrite.constant(np.ones(1, np.float32), "one")
    codes = rewrite.op(
        "QuantUniform", [ones, one], ones.shape.numpy(), what="codes", domain=DIALECT, bits=2
    )
    sums = rewrite.op(
        "Conv",
        [x, codes],
        made,
        what="sums",
        group=channels,
        pads=pads,
        strides=ints(node, "strides", [1, 1]),
        dilations=ints(node, "dilations", [1, 1]),
    )
    count = rewrite.constant(np.float32(math.prod(kernel)), "count")
    rewrite.finish(rewrite.op("Div", [sums, count], made))


@spelling("GlobalAveragePool")
def mean_of_positions(rewrite: Rewrite) -> None:
    """GlobalAveragePool -> ReduceMean over all positions."""
    node = rewrite.node
    axes = rewrite.constant(np.arange(2, len(node.inputs[0].shape), dtype=np.int64), "axes")
    made = node.outputs[0].shape.numpy()
    rewrite.finish(rewrite.op("ReduceMean", [node.inputs[0], axes], made, keepdims=1))


@spelling("GlobalMaxPool")
def largest_of_positions(rewrite: Rewrite) -> None:
    """GlobalMaxPool -> MaxPool in a window of the image's size."""
    node = rewrite.node
    size = node.inputs[0].shape.numpy()[2:]
    made = node.outputs[0].shape.numpy()
    rewrite.finish(rewrite.op("MaxPool", [node.inputs[0]], made, kernel_shape=list(size)))


@spelling("GlobalMaxPool", "ReduceMax")
def whole_images(rewrite: Rewrite) -> None:
    """The largest of an image [N, C, H, W] -> a MaxPool whose window it is."""
    node = rewrite.node
    x, y = node.inputs[0], node.outputs[0]
    rank = len(x.shape)
    axes = list(range(2, rank))
    if node.op_type == "ReduceMax":
        given = constant(node.inputs[1]) if len(node.inputs) > 1 else None
        axes = [] if given is None else sorted(int(i) % rank for i in given.reshape(-1))
    if rank != 4 or axes != [2, 3]:
        return
    sizes = x.shape.numpy()
    pooled = rewrite.op("MaxPool", [x], (*sizes[:2], 1, 1), kernel_shape=list(sizes[2:]))
    rewrite.finish(rewrite.reshape(pooled, y.shape.numpy(), "whole"))
