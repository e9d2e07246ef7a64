"""Means and sums over positions and time as nodes of NIR."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from hqc.exporters.nir.network import (
    Network,
    Stream,
    seen,
    writes,
)
from hqc.passes.axes import Axes, Factor, axes
from hqc.passes.graph import constant, integer, ints, unsupported


@writes("AveragePool", "GlobalAveragePool")
def _average(net: Network, node: ir.Node) -> None:
    import nir

    x, shape = net.image(node, 2), node.outputs[0].shape.numpy()[1:]
    everything = node.op_type == "GlobalAveragePool"
    window = x.shape[1:] if everything else ints(node, "kernel_shape", ())
    strides = window if everything else ints(node, "strides", [1, 1])
    pads = ints(node, "pads", [0] * 4)
    auto = node.attributes.get("auto_pad")
    if (
        pads[:2] != pads[2:]
        or (any(pads) and not integer(node, "count_include_pad", 0))
        or integer(node, "ceil_mode", 0)
        or set(ints(node, "dilations", [1])) != {1}
        or (auto is not None and auto.value not in ("NOTSET", "VALID"))
    ):
        raise unsupported(
            node, "NIR's means count the zeros around, as many on both sides",
            "pool without padding and ceil_mode",
        )  # fmt: skip
    made = nir.AvgPool2d(*(np.array(n) for n in (window, strides, pads[:2])))
    net.give(node, net.emit(node.name, made, x, shape))


@writes("ReduceMean", "ReduceSum")
def _reduced(net: Network, node: ir.Node) -> None:
    """Over time, over all positions, or both."""
    x, rank = net.read(node), len(node.inputs[0].shape)
    given = None if len(node.inputs) < 2 else constant(node.inputs[1])
    over = sorted({int(a) % rank for a in (range(rank) if given is None else given.reshape(-1))})
    mean = node.op_type == "ReduceMean"
    factors = [f for i in over for f in x.view[i]]
    steps = [f for f in factors if f.root == "T"]
    inner = [f for f in factors if f.root == "E"]
    if steps and steps != list(axes(("T", net.steps))[0]):
        raise unsupported(node, "it sums up some of the time steps")
    kept = integer(node, "keepdims", 1)
    view = tuple(
        () if i in over else axis for i, axis in enumerate(x.view) if kept or i not in over
    )
    if inner:
        x, view = _over_positions(net, node, x, inner, view, mean)
    if x.time and steps:
        x = replace(x, time=False, factor=1 / net.steps if mean else 1.0)
    net.give(node, seen(node, x, view))


def _over_positions(
    net: Network, node: ir.Node, x: Stream, inner: list[Factor], view: Axes, mean: bool
) -> tuple[Stream, Axes]:
    """A pool whose window is the image, and how the rest lies behind it."""
    import nir

    size = math.prod(x.shape[1:])
    ends = sorted((f.stride, f.size) for f in inner)
    reached = 1
    for stride, count in ends:
        reached = reached * count if stride == reached else 0
    if len(x.shape) != 3 or reached != size:
        raise unsupported(
            node, f"it takes some axes of {list(x.shape)}", "NIR pools over height and width"
        )
    pool = nir.AvgPool2d if mean else nir.SumPool2d
    window = np.array(x.shape[1:])
    made = pool(window, window, np.array([0, 0]))
    rest = tuple(
        tuple(replace(f, stride=f.stride // size) if f.root == "E" else f for f in axis)
        for axis in view
    )
    return net.emit(node.name, made, x, (x.shape[0], 1, 1), rest), rest
