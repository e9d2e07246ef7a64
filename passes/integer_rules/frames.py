"""Frames are read by layers alone; what else reads them is shown them through one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from hqc.passes.axes import VIEWS, Axes, axes, reshape, size_of
from hqc.passes.graph import ints
from hqc.passes.integer_rules import sums
from hqc.passes.integer_rules.quantity import BITS, SCHEME, Lowering, Quantity, Weights
from hqc.passes.integer_rules.views import regarded_as

_FEW = 64
"""Channels of which an identity matrix is small."""


def frames_as_sums(node: ir.Node, x: Quantity, lowering: Lowering) -> Quantity:
    """Frames through a convolution whose window is one pixel, and whose weights the identity.

    So they may be normalized, pooled, sliced, padded, or given to neurons before any layer. The
    views that x is of the frames are made of its sums. Of many channels, the inner ones count as
    rows.
    """
    views: list[ir.Node] = []
    frames = x.value
    while (source := frames.producer()).op_type in VIEWS:
        views.insert(0, source)
        frames = source.inputs[0]
    sizes = frames.shape.numpy()
    channels = sizes[2]
    if channels <= _FEW or x.scale.ndim or x.offset.ndim:
        image, following = _seen(sizes, channels, views)
    else:
        counts = (n for n in range(_FEW, 0, -1) if channels % n == 0)
        tried = (_seen(sizes, n, views) for n in counts)
        image, following = next(found for found in tried if None not in found[1])
    seen = (sizes[0], *(size_of(image, root) for root in "CYX"))
    channels = seen[1]
    codes = replace(x, value=frames, scale=np.float64(1), offset=np.float64(0))
    name = f"{node.name}/frames"

    def viewed(x: Quantity, op_type: str, view: Axes, shape: tuple[int, ...], **given) -> Quantity:
        inputs = [x.value]
        if op_type == "Reshape":
            inputs.append(lowering.builder.initializer(np.array(shape), f"{name}.shape"))
        like, dtype = regarded_as(x, view), x.value.dtype
        return lowering.emit(node, op_type, inputs, like, dtype, name=name, shape=shape, **given)

    identity = np.eye(channels).reshape(channels, channels, 1, 1)
    weights = Weights(identity, np.float64(1), 0, 2, "uniform", np.zeros_like(identity))
    stored = lowering.builder.initializer(identity.astype(np.int8), f"{name}.codes")
    stored.metadata_props.update({BITS: str(weights.bits), SCHEME: weights.scheme})
    pixels = viewed(codes, "Reshape", image, seen)
    total = sums.layer_sum(node, pixels, weights, None, pixels.view, 0)
    made = lowering.emit(
        node,
        "ConvInteger",
        [pixels.value, stored],
        replace(total, scale=x.scale, offset=x.offset),
        ir.DataType.INT32,
        name=name,
        shape=pixels.shape,
        strides=[1, 1],
        pads=[0, 0, 0, 0],
    )
    made = viewed(made, "Reshape", reshape(image, sizes), sizes)
    for step, view in zip(views, following, strict=True):
        shape = tuple(step.outputs[0].shape.numpy())
        given = {"perm": ints(step, "perm", ())} if step.op_type == "Transpose" else {}
        made = viewed(made, step.op_type, view, shape, **given)
    return made


def _seen(
    sizes: tuple[int, ...], channels: int, views: Sequence[ir.Node]
) -> tuple[Axes, list[Axes | None]]:
    """Frames [T, 1, C, H, W] as images of so many channels, and the axes behind each view of them.

    Where a view cannot be followed with as many, its axes are None, and so are those behind it.
    """
    rows = sizes[2] // channels * sizes[3]
    image = axes(*zip("TCYX", (sizes[0], channels, rows, sizes[4]), strict=True))
    view: Axes | None = reshape(image, sizes)
    following = []
    for step in views:
        if view is not None and step.op_type == "Transpose":
            view = tuple(view[i] for i in ints(step, "perm", ()))
        elif view is not None:
            view = reshape(view, step.outputs[0].shape.numpy())
        following.append(view)
    return image, following
