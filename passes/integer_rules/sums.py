"""Convolutions and linear layers become integer sums of codes, attention products of integers.

Sums of spikes end in neurons, or in potentials. A convolution of potentials (the inner ones of a
separable convolution or a RepConv) reads them in fixed point.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.dialect.metadata import LAYER
from hqc.passes.graph import constant, integer, ints, unsupported
from hqc.passes.integer_rules.quantity import (
    BITS,
    SCHEME,
    WIDE,
    Lowering,
    Quantity,
    Weights,
    rescaled,
    rule,
)

_FLOAT_SUM = 2**24
"""What the sums of a layer left in float32 may reach in units of its codes."""

_FINEST_INPUT, _COARSEST_INPUT = 2**20, 2**15
"""What potentials that a convolution reads may reach."""


def _codes(node: ir.Node, lowering: Lowering, weights: Weights) -> ir.Value:
    """The initializer of the codes, in the narrowest type that holds them."""
    dtype = next(d for b, d in ((8, np.int8), (16, np.int16), (32, np.int32)) if weights.bits <= b)
    value = lowering.builder.initializer(
        np.ascontiguousarray(weights.codes.astype(dtype)), f"{node.name}.codes"
    )
    value.metadata_props[BITS] = str(weights.bits)
    value.metadata_props[SCHEME] = weights.scheme
    value.metadata_props[LAYER] = node.metadata_props.get(LAYER, node.name)
    return value


def _weights(
    node: ir.Node, lowering: Lowering, axis: int, highest: int, perm: list[int] | None = None
) -> Weights | None:
    """The node's second input as codes whose scale varies along `axis` alone; None if it has none.

    Weights left in float32 become codes of 32 bits: as fine as lets the largest sum, over inputs up
    to `highest`, have the 24 bits of a float32's significand.
    """
    found = lowering.weights(node, 1)
    if found is None:
        return None
    if isinstance(found, Weights):
        found = found.transposed(perm) if perm else found
        if not found.per_channel(axis):
            raise unsupported(node, "its weights are not quantized per output channel")
        return found
    array = (found.transpose(perm) if perm else found).astype(np.float64)
    rows = np.moveaxis(np.abs(array), axis, 0)
    reach = rows.reshape(len(rows), -1).sum(1) * max(highest, 1)
    scale = np.where(reach > 0, reach, 1) / _FLOAT_SUM
    shape = [1] * array.ndim
    shape[axis] = -1
    return Weights(np.round(array / scale.reshape(shape)), scale, axis, 32, "uniform")


def _sum(
    x: Quantity,
    weights: Weights,
    bias: np.ndarray | None,
    value: ir.Value,
    initializer: ir.Value | None,
    *,
    axis: int,
    weights_axis: int,
) -> Quantity:
    """The quantity of sums over all axes of the codes but `weights_axis`, one channel each.

    Its interval is what the codes can reach with inputs in the interval of x, or with padding.
    """
    rows = np.moveaxis(weights.codes, weights_axis, 0).astype(np.int64)
    rows = rows.reshape(len(rows), -1)
    low, high = min(int(x.low), 0), max(int(x.high), 0)
    positive, negative = np.maximum(rows, 0).sum(1), np.minimum(rows, 0).sum(1)
    offset = np.float64(0) if bias is None else bias.astype(np.float64)
    return Quantity(
        value,
        np.broadcast_to(x.scale * weights.scale, rows.shape[:1]).astype(np.float64),
        np.broadcast_to(offset, rows.shape[:1]).astype(np.float64),
        negative * high + positive * low,
        positive * high + negative * low,
        axis,
        initializer,
        weights_axis,
    )


def _in_fixed_point(node: ir.Node, lowering: Lowering, weights: Weights, axis: int) -> Quantity:
    """The node's input as potentials, as fine as the sums over them allow.

    Sums stay in 32 bits where that leaves the input 15 or more.
    """
    x = lowering.quantity(node, 0)
    rows = np.moveaxis(np.abs(weights.codes), axis, 0)
    largest = max(int(rows.reshape(len(rows), -1).sum(1).max()), 1)
    limit = (2**31 - 1) // largest
    limit = min(limit, _FINEST_INPUT) if limit >= _COARSEST_INPUT else _FINEST_INPUT
    reach = np.maximum(np.abs(x.low), np.abs(x.high)) * np.abs(x.scale) + np.abs(x.offset)
    return rescaled(node, x, lowering, max(float(np.max(reach)), 2.0**-60) * 1.01 / limit)


@rule("Conv")
def lower_conv(node: ir.Node, lowering: Lowering) -> Quantity:
    """Conv -> ConvInteger, IntegerConv or IntegerDepthwiseConv; bias and scales move on."""
    x = lowering.quantity(node, 0)
    weights = _weights(node, lowering, 0, x.reach if x.is_small else 1)
    if weights is None or weights.codes.ndim != 4 or set(ints(node, "dilations", [1])) != {1}:
        raise unsupported(node, "only two-dimensional convolutions without dilation are lowered")
    if "auto_pad" in node.attributes and node.attributes["auto_pad"].value != "NOTSET":
        raise unsupported(node, "auto_pad is not lowered", "export with explicit pads")
    group = integer(node, "group", 1)
    channels, inputs = weights.codes.shape[:2]
    depthwise = group > 1 and group == channels and inputs == 1
    if group > 1 and not depthwise:
        raise unsupported(node, f"{group} groups of {inputs} channels; only depthwise are lowered")
    if not x.is_small:
        x = _in_fixed_point(node, lowering, weights, 0)
    bytes_ = x.is_small and weights.bits <= 8 and not depthwise
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    initializer = _codes(node, lowering, weights)
    op_type = "IntegerDepthwiseConv" if depthwise else "ConvInteger" if bytes_ else "IntegerConv"
    value = lowering.builder.op(
        op_type,
        [x.value, initializer],
        node.outputs[0].shape.numpy(),
        ir.DataType.INT32 if bytes_ else ir.DataType.INT64,
        name=node.name,
        domain="" if bytes_ else DIALECT,
        strides=ints(node, "strides", [1, 1]),
        pads=ints(node, "pads", [0, 0, 0, 0]),
    )
    sums = _sum(x, weights, bias, value, initializer if bytes_ else None, axis=1, weights_axis=0)
    if sums.reach >= 2**31:
        value.metadata_props[WIDE] = "1"
    return sums


@rule("Gemm")
def lower_gemm(node: ir.Node, lowering: Lowering) -> Quantity | None:
    """Gemm -> MatMulInteger, or IntegerLinear where it is the classifier."""
    if integer(node, "transA", 0):
        raise unsupported(node, "only activations times weights are lowered")
    for factor in ("alpha", "beta"):
        if factor in node.attributes and node.attributes[factor].value != 1.0:
            raise unsupported(node, f"{factor} is not 1")
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    return _linear(node, lowering, bias, [1, 0] if integer(node, "transB", 0) else None)


@rule("MatMul")
def lower_matmul(node: ir.Node, lowering: Lowering) -> Quantity | None:
    """MatMul -> MatMulInteger with weights; a product of integers between activations."""
    if lowering.weights(node, 1) is not None:
        return _linear(node, lowering, None, None)
    a, b = (lowering.quantity(node, i) for i in (0, 1))
    if not (a.is_plain and b.is_plain and a.low >= 0 and b.low >= 0):
        raise unsupported(
            node, "it multiplies potentials", "put LIF neurons before a product of activations"
        )
    wide = [
        lowering.builder.op(
            "Cast",
            [q.value],
            q.shape,
            ir.DataType.INT32,
            name=f"{node.name}/{side}",
            to=ir.DataType.INT32.value,
        )
        if q.value.dtype != ir.DataType.INT32
        else q.value
        for q, side in ((a, "left"), (b, "right"))
    ]
    shape = node.outputs[0].shape.numpy()
    value = lowering.builder.op("MatMul", wide, shape, ir.DataType.INT32, name=node.name)
    high = a.high * b.high * a.shape[-1]
    if high >= 2**31:
        raise unsupported(node, f"its sums reach {int(high)}, more than 32 bits hold")
    return Quantity(value, a.scale * b.scale, np.float64(0), np.int64(0), np.int64(high))


def _linear(
    node: ir.Node, lowering: Lowering, bias: np.ndarray | None, perm: list[int] | None
) -> Quantity | None:
    x = lowering.quantity(node, 0)
    if not x.is_plain or x.low < 0:
        raise unsupported(
            node, "it reads membrane potentials", "put LIF neurons before a linear layer"
        )
    weights = _weights(node, lowering, 1, x.reach, perm)
    if weights is None or weights.codes.ndim != 2:
        raise unsupported(node, "only activations times weights are lowered")
    if x.value.dtype == ir.DataType.INT32:
        _classifier(node, lowering, x, weights, bias)
        return None
    shape = node.outputs[0].shape.numpy()
    initializer = _codes(node, lowering, weights)
    bytes_ = weights.bits <= 8
    value = lowering.builder.op(
        "MatMulInteger" if bytes_ else "IntegerMatMul",
        [x.value, initializer],
        shape,
        ir.DataType.INT32 if bytes_ else ir.DataType.INT64,
        name=node.name,
        domain="" if bytes_ else DIALECT,
    )
    return _sum(
        x,
        weights,
        bias,
        value,
        initializer if bytes_ else None,
        axis=len(shape) - 1,
        weights_axis=1,
    )


def _classifier(
    node: ir.Node, lowering: Lowering, x: Quantity, weights: Weights, bias: np.ndarray | None
) -> None:
    classes = weights.codes.shape[1]
    scale = np.broadcast_to(x.scale * weights.scale, classes)
    reach = np.abs(weights.codes).sum(0).max() * int(x.high)
    offset = np.zeros(classes) if bias is None else np.round(bias / scale)
    if np.abs(offset).max() >= 2**31:
        raise unsupported(node, "its bias does not fit 32 bits")
    wide = {"wide": 1} if reach + np.abs(offset).max() >= 2**31 else {}
    initializer = _codes(node, lowering, weights)
    lowering.logits[node.outputs[0]] = lowering.builder.op(
        "IntegerLinear",
        [
            x.value,
            initializer,
            lowering.builder.initializer(offset.astype(np.int32), f"{node.name}.bias"),
            lowering.builder.initializer(scale.astype(np.float32), f"{node.name}.scale"),
        ],
        node.outputs[0].shape.numpy(),
        ir.DataType.FLOAT,
        name=node.name,
        domain=DIALECT,
        weight_bits=weights.bits,
        weight_scheme=weights.scheme,
        **wide,
    )
