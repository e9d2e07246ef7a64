"""Sums and products with constants that differ along several axes, or seem to."""

from __future__ import annotations

import math

import numpy as np

from hqc.passes.graph import constant
from hqc.passes.spellings.spelling import Rewrite, spelling


@spelling("Add", "Sub", "Mul", "Div")
def repeated_operand(rewrite: Rewrite) -> None:
    """A constant that repeats the other operand -> of that operand, repeated."""
    node = rewrite.node
    given = [constant(v) for v in node.inputs]
    if (given[0] is None) == (given[1] is None):
        return
    index = int(given[0] is not None)
    x, made = node.inputs[index], node.outputs[0].shape
    if x.shape == made:
        return
    shape = rewrite.constant(np.array(made.numpy(), np.int64), "shape")
    inputs = list(node.inputs)
    inputs[index] = rewrite.op("Expand", [x, shape], made.numpy(), what="repeated")
    rewrite.finish(rewrite.op(node.op_type, inputs, made.numpy()))


@spelling("Add", "Sub", "Mul", "Div")
def repeated_numbers(rewrite: Rewrite) -> None:
    """A constant that is the same all along an axis, as at every time step -> once."""
    node = rewrite.node
    given = [constant(v) for v in node.inputs]
    if (given[0] is None) == (given[1] is None):
        return
    index = int(given[0] is None)
    array = given[index]
    if node.inputs[1 - index].shape != node.outputs[0].shape:
        return  # it is what repeats the other operand
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
    node = rewrite.node
    numbers, x = (constant(v) for v in node.inputs), node.inputs[0]
    first, second = numbers
    if (first is None) == (second is None) or (node.op_type == "Div" and second is None):
        return
    if second is None:
        x, second = node.inputs[1], first
    shape = node.outputs[0].shape.numpy()
    if second.ndim > len(shape) or x.shape != node.outputs[0].shape:
        return
    factors = second.reshape((1,) * (len(shape) - second.ndim) + second.shape)
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
