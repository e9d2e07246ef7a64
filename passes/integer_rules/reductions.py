"""Sums and means over axes: of time and position, of channels."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from hqc.passes.axes import axes, named, size_of, spell, timeless
from hqc.passes.graph import integer, mixes_time
from hqc.passes.integer_rules.arithmetic import scaled
from hqc.passes.integer_rules.quantity import Lowering, Quantity, Weights, rescaled
from hqc.passes.integer_rules.registry import rule
from hqc.passes.integer_rules.sums import in_fixed_point, layer, layer_sum
from hqc.passes.integer_rules.views import permuted, reshaped

_SUM = 2**29
"""What a sum over positions may reach, so that neurons can read it with a bit or two to spare."""


@rule("ReduceMean", "ReduceSum", attributes=("keepdims", "noop_with_empty_axes"))
def lower_reduction(node: ir.Node, lowering: Lowering) -> Quantity:
    """An integer sum; the mean's division moves into the scale."""
    x = lowering.quantity(node, 0)
    reduced = lowering.constant(node, 1)
    if reduced is None or not reduced.size:
        if integer(node, "noop_with_empty_axes", 0):
            return x
        reduced = np.arange(len(x.shape))
    reduced = sorted({int(a) % len(x.shape) for a in reduced})
    keepdims = integer(node, "keepdims", 1)
    roots = {f.root for a in reduced for f in x.view[a]}
    count = int(np.prod([x.shape[a] for a in reduced]))
    mean = np.float64(1 / count if node.op_type == "ReduceMean" else 1)
    if roots == {"C"}:
        return scaled(_over_channels(node, lowering, x, reduced), mean)
    if "T" in roots and size_of(tuple(x.view[a] for a in reduced), "T") < size_of(x.view, "T"):
        raise mixes_time(
            node,
            f"it reduces axes {reduced} of [{spell(x.view)}], a part of the time steps",
            "reduce all time steps together",
        )
    if "C" in roots:
        kept = [i for i in timeless(x.view) if i not in reduced]
        x = lowering.regarded(node, 0, named(x.view, kept))
    if x.kind in ("frames", "sums") or not x.is_plain:
        x = lowering.potentials(node, 0)
    if x.reach * count >= _SUM:
        x = rescaled(node, x, lowering, float(x.scale) * 2.0 ** _bits_over(x.reach * count))
    over = tuple(x.view[a] for a in reduced)
    positions = {root for root in "YX" if size_of(x.view, root) > 1}
    parts = any(size_of(over, root) < size_of(x.view, root) for root in roots)
    if parts or roots - {"T"} not in (set(), positions):  # what is left will be channels
        x = replace(x, low=np.min(x.low), high=np.max(x.high))
    value = lowering.in_words(x, f"{node.name}/Cast")
    view = tuple(
        () if i in reduced else axis
        for i, axis in enumerate(x.view)
        if keepdims or i not in reduced
    )
    total = replace(
        x,
        kind="levels" if x.kind == "spikes" else x.kind,
        view=view,
        low=x.low * count,
        high=x.high * count,
        error=x.error * count,
    )
    inputs = [value, lowering.builder.initializer(np.array(reduced, np.int64), f"{node.name}.axes")]
    total = lowering.emit(node, "ReduceSum", inputs, total, ir.DataType.INT32, keepdims=keepdims)
    return scaled(total, mean)


def _over_channels(node: ir.Node, lowering: Lowering, x: Quantity, reduced: list[int]) -> Quantity:
    """A sum over channels, or over a part of each head's: a linear layer of ones.

    What is left of the channels are the channels of the result.
    """
    factors = [(f, i in reduced) for i, axis in enumerate(x.view) for f in axis]
    ours = [i for i, (f, _) in enumerate(factors) if f.root == "C"]
    others = [i for i in range(len(factors)) if i not in ours]
    ours.sort(key=lambda i: -factors[i][0].stride)
    kept = [i for i in ours if not factors[i][1]]
    sizes = [f.size for f, _ in factors]
    inputs = math.prod(sizes[i] for i in ours)
    outputs = math.prod(sizes[i] for i in kept)
    index = np.zeros([sizes[i] for i in ours], np.int64)
    for i in kept:
        place = np.arange(sizes[i]).reshape([-1 if j == i else 1 for j in ours])
        index = index * sizes[i] + place
    codes = (index.reshape(-1, 1) == np.arange(outputs)).astype(np.float64)
    weights = Weights(codes, np.float64(1), 1, 2, "uniform", np.zeros_like(codes))

    if not x.is_bytes:
        x = in_fixed_point(node, lowering, x, weights, 1)
    x = reshaped(node, lowering, x, sizes, "factors")
    x = permuted(node, lowering, x, [*others, *ours], "channels last")
    rows = [sizes[i] for i in others]
    x = reshaped(node, lowering, x, [*rows, inputs], "channels")
    view = (*x.view[:-1], *axes(("C", outputs)))
    sums = layer_sum(node, x, weights, None, view, 1)
    sums = layer(
        node,
        lowering,
        ("MatMulInteger", "IntegerMatMul"),
        x,
        weights,
        sums,
        name=f"{node.name}/sums",
        shape=[*rows, outputs],
    )
    # Ones have one scale, whatever axis their channels will be a part of.
    sums = replace(sums, scale=np.float64(sums.scale.flat[0]), offset=np.float64(0))
    sums = reshaped(node, lowering, sums, [*rows, *(sizes[i] for i in kept)], "kept")
    places = [*others, *kept]
    order = [places.index(i) for i in sorted(places)]
    sums = permuted(node, lowering, sums, order, "in order")
    return reshaped(node, lowering, sums, node.outputs[0].shape.numpy())


def _bits_over(reach: int) -> int:
    """By how many bits a sum is too large."""
    return int(np.ceil(np.log2(reach / _SUM)))
