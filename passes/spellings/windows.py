"""Convolutions and pools of one or three dimensions, and means of windows: as those of images."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from hqc.dialect import DIALECT
from hqc.passes.graph import integer, ints
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
    attributes = rewrite.attributes
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
    attributes = rewrite.attributes
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


@dataclass(frozen=True)
class _Places:
    """Where the windows of a pool lie, by axis: (depth,) height, width."""

    sizes: list[int]
    made: list[int]
    kernel: list[int]
    pads: list[int]
    strides: list[int]
    dilations: list[int]

    @classmethod
    def of(cls, rewrite: Rewrite) -> _Places:
        """Those of the rewrite's node."""
        node = rewrite.node
        sizes, made = (list(v.shape.numpy()[2:]) for v in (node.inputs[0], node.outputs[0]))
        ones, zeros = [1] * len(sizes), [0] * 2 * len(sizes)
        strides, dilations = (ints(node, n, ones) for n in ("strides", "dilations"))
        return cls(sizes, made, _window(rewrite), ints(node, "pads", zeros), strides, dilations)

    @property
    def pads_to_the_end(self) -> list[int]:
        """The padding, with what `ceil_mode` lets the last windows reach over."""
        ends = []
        for axis, window in enumerate(self.kernel):
            reach = (self.made[axis] - 1) * self.strides[axis]
            reach += (window - 1) * self.dilations[axis] + 1
            ends.append(max(reach - self.sizes[axis] - self.pads[axis], self._at_the_end[axis]))
        return [*self.pads[: len(self.kernel)], *ends]

    @property
    def _at_the_end(self) -> list[int]:
        return self.pads[len(self.kernel) :]

    def counts(self, padding: bool) -> np.ndarray:
        """How many pixels each window has, ([D,] H, W); with those of `pads` or without."""
        along = []
        for axis, window in enumerate(self.kernel):
            first = np.arange(self.made[axis]) * self.strides[axis] - self.pads[axis]
            taps = first[:, None] + np.arange(window) * self.dilations[axis]
            start, end = (-self.pads[axis], self._at_the_end[axis]) if padding else (0, 0)
            along.append(((taps >= start) & (taps < self.sizes[axis] + end)).sum(1))
        return functools.reduce(np.multiply.outer, along)


@spelling("MaxPool")
def written_ceilings(rewrite: Rewrite) -> None:
    """`ceil_mode` -> the padding at the end that it stands for."""
    node = rewrite.node
    if not integer(node, "ceil_mode", 0) or len(node.inputs[0].shape) != 4 or len(node.outputs) > 1:
        return
    attributes = rewrite.attributes | {"pads": _Places.of(rewrite).pads_to_the_end, "ceil_mode": 0}
    rewrite.finish(
        rewrite.op(node.op_type, node.inputs, node.outputs[0].shape.numpy(), **attributes)
    )


@spelling("AveragePool")
def sums_of_windows(rewrite: Rewrite) -> None:
    """AveragePool -> a depthwise convolution of ones, over how many each window has."""
    node = rewrite.node
    x = node.inputs[0]
    if len(x.shape) not in (4, 5) or "auto_pad" in node.attributes:
        return
    places = _Places.of(rewrite)
    channels, kernel = x.shape.numpy()[1], _window(rewrite)
    if any(pad >= size for pad, size in zip(places.pads_to_the_end, kernel * 2, strict=True)):
        return  # runtimes differ on windows of padding alone
    if len(x.shape) == 5 and integer(node, "ceil_mode", 0):
        return  # and on volumes whose last windows end behind their padding
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
        pads=places.pads_to_the_end,
        strides=places.strides,
        dilations=places.dilations,
    )
    counts = places.counts(padding=bool(integer(node, "count_include_pad", 0)))
    alike = counts.min() == counts.max()
    over = np.float32(counts.max()) if alike else counts.astype(np.float32)
    rewrite.finish(rewrite.op("Div", [sums, rewrite.constant(over, "counts")], made))


@spelling("GlobalAveragePool")
def mean_of_positions(rewrite: Rewrite) -> None:
    """GlobalAveragePool -> ReduceMean over all positions."""
    node = rewrite.node
    axes = rewrite.constant(np.arange(2, len(node.inputs[0].shape), dtype=np.int64), "axes")
    made = node.outputs[0].shape.numpy()
    rewrite.finish(rewrite.op("ReduceMean", [node.inputs[0], axes], made, keepdims=1))


@spelling("GlobalMaxPool")
def largest_of_positions(rewrite: Rewrite) -> None:
    """GlobalMaxPool -> ReduceMax over all positions."""
    node = rewrite.node
    axes = rewrite.constant(np.arange(2, len(node.inputs[0].shape), dtype=np.int64), "axes")
    made = node.outputs[0].shape.numpy()
    rewrite.finish(rewrite.op("ReduceMax", [node.inputs[0], axes], made, keepdims=1))
