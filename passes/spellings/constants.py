"""Sums and products with constants that differ along several axes, or seem to."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from hqc.passes.graph import constant
from hqc.passes.spellings.spelling import Rewrite, spelling


def _constant_operand(node: ir.Node) -> tuple[int, np.ndarray] | None:
    """Which of two operands is a constant, and it; None where both are, or none is."""
    arrays = [constant(v) for v in node.inputs]
    given = [(i, a) for i, a in enumerate(arrays) if a is not None]
    return given[0] if len(given) == 1 else None


@spelling("Add", "Sub", "Mul", "Div")
def repeated_operand(rewrite: Rewrite) -> None:
    """A constant that repeats the other operand -> of that operand, repeated."""
    node, found = rewrite.node, _constant_operand(rewrite.node)
    made = node.outputs[0].shape
    if found is None or node.inputs[1 - found[0]].shape == made:
        return
    inputs, other = list(node.inputs), 1 - found[0]
    shape = rewrite.constant(np.array(made.numpy(), np.int64), "shape")
    inputs[other] = rewrite.op("Expand", [inputs[other], shape], made.numpy(), what="repeated")
    rewrite.finish(rewrite.op(node.op_type, inputs, made.numpy()))


@spelling("Add", "Sub", "Mul", "Div")
def repeated_numbers(rewrite: Rewrite) -> None:
    """A constant that is the same all along an axis, as at every time step -> once."""
    node, found = rewrite.node, _constant_operand(rewrite.node)
    if found is None:
        return
    index, array = found
    once = array
    for axis, size in enumerate(array.shape):
        first = once.take([0], axis) if size else once
        if size > 1 and np.all(once == first):
            once = first
    if once.shape == array.shape:
        return
    inputs = list(node.inputs)
    inputs[index] = rewrite.constant(once, "once")
    rewrite.finish(rewrite.op(node.op_type, inputs, node.outputs[0].shape.numpy()))


@spelling("Mul", "Div")
def along_one_axis(rewrite: Rewrite) -> None:
    """Times a constant that differs along several axes -> along one that they are merged into."""
    node, found = rewrite.node, _constant_operand(rewrite.node)
    if found is None or (node.op_type == "Div" and found[0] == 0):
        return
    x, array = node.inputs[1 - found[0]], found[1]
    shape = node.outputs[0].shape.numpy()
    factors = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    long = [axis for axis, size in enumerate(factors.shape) if size > 1]
    if len(long) < 2:
        return
    rest = [axis for axis in range(len(shape)) if axis not in long]
    order = [*rest, *long]
    turned = [shape[axis] for axis in order]
    merged = [*turned[: len(rest)], math.prod(shape[axis] for axis in long)]
    value = rewrite.op("Transpose", [x], turned, what="turned", perm=order)
    value = rewrite.reshape(value, merged, "merged")
    line = rewrite.constant(factors.transpose(order).reshape(-1), "numbers")
    value = rewrite.op(node.op_type, [value, line], merged, what="product")
    value = rewrite.reshape(value, turned, "split")
    rewrite.finish(rewrite.op("Transpose", [value], shape, perm=np.argsort(order).tolist()))
