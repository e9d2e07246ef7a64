"""Constants move into scale and offset; residual sums and means become integer sums.

Sums of spikes stay small integers; a membrane shortcut adds potentials in fixed point.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.passes.graph import constant, integer, ints, unsupported
from hqc.passes.integer_rules.quantity import (
    Lowering,
    PotentialOverflowError,
    Quantity,
    rescaled,
    rule,
)

_BYTE = 255
_SUM = 2**29
"""What a sum over positions may reach, so that neurons can read it."""


def _with_constant(node: ir.Node, lowering: Lowering) -> tuple[Quantity, np.ndarray, int] | None:
    """The quantity, the constant as a number or a vector along an axis, and that axis."""
    for index, other in ((0, 1), (1, 0)):
        array = constant(node.inputs[other])
        if array is None:
            continue
        x = lowering.quantity(node, index)
        wide = np.asarray(array, np.float64).reshape(
            (1,) * (len(x.shape) - array.ndim) + array.shape
        )
        long = [axis for axis, size in enumerate(wide.shape) if size > 1]
        if len(long) > 1 or len(wide.shape) > len(x.shape):
            raise unsupported(node, "its constant varies along more than the channel axis")
        if long and x.scale.ndim and long[0] != x.axis:
            raise unsupported(node, "its constant varies along another axis than the channels")
        axis = long[0] if long else x.axis
        return x, (wide.reshape(-1) if long else np.float64(wide.item())), axis
    return None


@rule("Mul", "Div")
def lower_multiplication(node: ir.Node, lowering: Lowering) -> Quantity:
    """Times or over a constant: into the scale. Of two activations in {0, 1}: where both fire."""
    found = _with_constant(node, lowering)
    if found is None and node.op_type == "Mul":
        return _both_fire(node, lowering)
    if found is None or (node.op_type == "Div" and constant(node.inputs[1]) is None):
        raise unsupported(node, "only a constant factor or divisor is lowered")
    x, factor, axis = found
    factor = 1 / factor if node.op_type == "Div" else factor
    return replace(x, scale=x.scale * factor, offset=x.offset * factor, axis=axis)


def _both_fire(node: ir.Node, lowering: Lowering) -> Quantity:
    a, b = (lowering.quantity(node, i) for i in (0, 1))
    if not (a.is_small and b.is_small and a.reach == b.reach == 1):
        raise unsupported(node, "a product of activations that are not both spikes")
    shape = node.outputs[0].shape.numpy()
    value = lowering.builder.op(
        "BitwiseAnd", [a.value, b.value], shape, ir.DataType.UINT8, name=node.name
    )
    return lowering.activation(node, value, float(a.scale * b.scale))


@rule("Add", "Sub")
def lower_addition(node: ir.Node, lowering: Lowering) -> Quantity:
    """A constant moves into the offset; spikes are added as integers, potentials in one unit."""
    found = _with_constant(node, lowering)
    if found is not None:
        x, term, axis = found
        if node.op_type == "Sub" and constant(node.inputs[1]) is None:
            raise unsupported(node, "a constant less an activation is not lowered")
        term = -term if node.op_type == "Sub" else term
        return replace(x, offset=x.offset + term, axis=axis)
    if node.op_type == "Sub":
        raise unsupported(node, "a difference of two activations is not lowered")
    a, b = (lowering.quantity(node, i) for i in (0, 1))
    if a.shape != b.shape:
        raise unsupported(node, f"its inputs differ in shape: {list(a.shape)}, {list(b.shape)}")
    if a.is_small and b.is_small and a.scale == b.scale and a.high + b.high <= _BYTE:
        value = lowering.builder.op(
            "Add", [a.value, b.value], a.shape, ir.DataType.UINT8, name=node.name
        )
        return lowering.activation(node, value, float(a.scale))
    a, b = (lowering.potentials(node, i) for i in (0, 1))
    value = lowering.builder.op(
        "Add", [a.value, b.value], a.shape, ir.DataType.INT32, name=node.name
    )
    total = Quantity(value, a.scale, a.offset, a.low + b.low, a.high + b.high)
    if total.reach >= 2**30:
        raise PotentialOverflowError(node)
    return total


@rule("MaxPool")
def lower_max_pool(node: ir.Node, lowering: Lowering) -> Quantity:
    """The same pooling of integers."""
    if integer(node, "ceil_mode", 0) or set(ints(node, "dilations", [1])) != {1}:
        raise unsupported(node, "ceil_mode and dilations are not lowered")
    kernel = ints(node, "kernel_shape", ())
    x = lowering.quantity(node, 0)
    spikes = x.is_small and x.value.dtype == ir.DataType.UINT8
    x = x if spikes else lowering.potentials(node, 0)
    value = lowering.builder.op(
        "MaxPool" if spikes else "IntegerMaxPool",
        [x.value],
        node.outputs[0].shape.numpy(),
        ir.DataType.UINT8 if spikes else ir.DataType.INT32,
        name=node.name,
        domain="" if spikes else DIALECT,
        kernel_shape=kernel,
        strides=ints(node, "strides", [1] * len(kernel)),
        pads=ints(node, "pads", [0] * 2 * len(kernel)),
    )
    return lowering.activation(node, value, float(x.scale)) if spikes else replace(x, value=value)


@rule("ReduceMean", "ReduceSum")
def lower_reduction(node: ir.Node, lowering: Lowering) -> Quantity:
    """An integer sum; the mean's division moves into the scale."""
    x = lowering.quantity(node, 0)
    axes = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if axes is None:
        raise unsupported(node, "only sums over constant axes are lowered")
    axes = [int(a) % len(x.shape) for a in axes]
    count = int(np.prod([x.shape[a] for a in axes]))
    if not x.is_plain:
        x = lowering.potentials(node, 0)
    if x.reach * count >= _SUM:
        spare = int(np.ceil(np.log2(x.reach * count / _SUM)))
        x = rescaled(node, x, lowering, float(x.scale) * 2**spare)
    wide = x.value
    if wide.dtype != ir.DataType.INT32:
        wide = lowering.builder.op(
            "Cast",
            [wide],
            x.shape,
            ir.DataType.INT32,
            name=f"{node.name}/Cast",
            to=ir.DataType.INT32.value,
        )
    value = lowering.builder.op(
        "ReduceSum",
        [wide, lowering.builder.initializer(np.array(axes, np.int64), f"{node.name}.axes")],
        node.outputs[0].shape.numpy(),
        ir.DataType.INT32,
        name=node.name,
        keepdims=integer(node, "keepdims", 1),
    )
    scale = x.scale / count if node.op_type == "ReduceMean" else x.scale
    return Quantity(value, scale, np.float64(0), x.low * count, x.high * count)
