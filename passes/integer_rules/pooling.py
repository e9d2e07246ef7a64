"""The largest of windows, and along axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.passes.axes import axes, size_of, spell
from hqc.passes.graph import integer, ints, mixes_time, unsupported
from hqc.passes.integer_rules.quantity import Lowering, Quantity
from hqc.passes.integer_rules.registry import rule
from hqc.passes.integer_rules.time_steps import image
from hqc.passes.integer_rules.views import permuted, reshaped


def refuse_auto_pad(node: ir.Node) -> None:
    """Raise `UnsupportedModelError` where padding is not written out."""
    auto = node.attributes.get("auto_pad")
    if auto is not None and auto.value != "NOTSET":
        raise unsupported(
            node, f"auto_pad is {auto.value}, not explicit pads", "run fold-padding before"
        )


@rule(
    "MaxPool",
    attributes=(
        *("kernel_shape", "strides", "pads", "auto_pad"),
        *("ceil_mode", "dilations", "storage_order"),
    ),
)
def lower_max_pool(node: ir.Node, lowering: Lowering) -> Quantity:
    """An OR of spikes, the largest of potentials."""
    refuse_auto_pad(node)
    ceil_mode, dilations = integer(node, "ceil_mode", 0), ints(node, "dilations", [1])
    if ceil_mode or set(dilations) != {1}:
        raise unsupported(
            node,
            f"ceil_mode is {ceil_mode} and dilations are {dilations}; only windows without either "
            "are lowered",
        )
    kernel = ints(node, "kernel_shape", ())
    pads = ints(node, "pads", [0] * 2 * len(kernel))
    if len(kernel) != 2 or any(p >= k for p, k in zip(pads, kernel * 2, strict=True)):
        raise unsupported(
            node,
            f"its window is {list(kernel)}, padded by {list(pads)}",
            "pool in windows that are wider than their padding",
        )
    x = image(node, lowering)
    if not _is_or(x):
        x = lowering.potentials(node, 0).under(x.view)
    strides = ints(node, "strides", [1] * len(kernel))
    return _pooled(node, lowering, x, node.outputs[0].shape.numpy(), kernel, strides, pads)


@rule("ReduceMax", attributes=("keepdims", "noop_with_empty_axes"))
def lower_largest(node: ir.Node, lowering: Lowering) -> Quantity:
    """The largest along axes: a pool whose window is the image that they are made."""
    x, given = lowering.quantity(node, 0), lowering.constant(node, 1)
    rank = len(x.shape)
    if given is None or not given.size:
        if integer(node, "noop_with_empty_axes", 0):
            return x
        given = np.arange(rank)
    over = sorted({int(axis) % rank for axis in given})
    time = [i for i, axis in enumerate(x.view) if "T" in {f.root for f in axis}]
    if not set(time).isdisjoint(over) or any(len(x.view[i]) > 1 for i in time):
        raise mixes_time(
            node,
            f"it takes the largest along axes {over} of [{spell(x.view)}], which has time in them",
            "take the largest of one time step, or the sum of all",
        )
    if not _is_or(x):
        x = lowering.potentials(node, 0)
    kept = [i for i in range(rank) if i not in (*time, *over)]
    order, channels = [*time, *kept, *over], math.prod(x.shape[i] for i in kept)
    if order != sorted(order):
        if x.channels > 1:
            x = replace(x, low=np.min(x.low), high=np.max(x.high), error=np.max(x.error))
        x = permuted(node, lowering, x, order, "turned")
    sizes = x.shape
    window = [sizes[-len(over)], math.prod(sizes[len(sizes) - len(over) + 1 :])]
    size = [size_of(x.view, "T"), channels, *window]
    x = reshaped(node, lowering, x, size, "image")
    x = x.under(axes(*zip("TCYX", size, strict=True)))
    pooled = _pooled(node, lowering, x, [*size[:2], 1, 1], window, [1, 1], [0] * 4, "largest")
    pooled = reshaped(node, lowering, pooled, [sizes[i] for i in range(rank - len(over))], "kept")
    back = np.argsort([*time, *kept]).tolist()
    if back != sorted(back):
        pooled = permuted(node, lowering, pooled, back, "in order")
    return reshaped(node, lowering, pooled, node.outputs[0].shape.numpy())


def _is_or(x: Quantity) -> bool:
    """Whether the largest of some is where any fires."""
    return x.kind == "spikes" and x.is_bytes


def _pooled(
    node: ir.Node,
    lowering: Lowering,
    x: Quantity,
    shape: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    what: str = "",
) -> Quantity:
    """The largest in windows of an image of spikes or potentials."""
    return lowering.emit(
        node,
        "OrPool" if _is_or(x) else "IntegerMaxPool",
        [x.value],
        replace(x, view=axes(*zip("TCYX", shape, strict=True))),
        ir.DataType.UINT8 if _is_or(x) else ir.DataType.INT32,
        name=f"{node.name}/{what}" if what else node.name,
        domain=DIALECT,
        shape=shape,
        kernel_shape=kernel,
        strides=strides,
        pads=pads,
    )
