"""Convolutions and linear layers become integer sums of codes, attention products of integers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.passes.graph import constant, integer, ints, unsupported
from hqc.passes.integer_rules.quantity import BITS, SCHEME, Lowering, Quantity, Weights, rule

_BYTE = 255


def _input(node: ir.Node, lowering: Lowering, limit: int = _BYTE) -> Quantity:
    x = lowering.quantity(node, 0)
    if not x.is_plain:
        raise unsupported(
            node, "its input has a bias or a scale per channel", "put LIF neurons before the layer"
        )
    if np.any(x.low < 0) or np.any(x.high > limit):
        raise unsupported(node, f"its input reaches {int(x.high)}, more than {limit}")
    return x


def _codes(node: ir.Node, lowering: Lowering, weights: Weights) -> ir.Value:
    value = lowering.builder.initializer(
        np.ascontiguousarray(weights.codes.astype(np.int8)), f"{node.name}.codes"
    )
    value.metadata_props[BITS] = str(weights.bits)
    value.metadata_props[SCHEME] = weights.scheme
    return value


def _sum(
    x: Quantity,
    weights: Weights,
    bias: np.ndarray | None,
    value: ir.Value,
    initializer: ir.Value,
    *,
    axis: int,
    weights_axis: int,
) -> Quantity:
    """The quantity of sums over all axes of the codes but `weights_axis`, one channel each.

    Its interval is what the codes can reach with inputs in the interval of x, or with padding.
    """
    rows = np.moveaxis(weights.codes, weights_axis, 0)
    rows = rows.reshape(len(rows), -1)
    high = int(x.high)
    offset = np.float64(0) if bias is None else bias.astype(np.float64)
    return Quantity(
        value,
        np.broadcast_to(x.scale * weights.scale, rows.shape[:1]).astype(np.float64),
        np.broadcast_to(offset, rows.shape[:1]).astype(np.float64),
        (np.minimum(rows, 0).sum(1) * high).astype(np.int64),
        (np.maximum(rows, 0).sum(1) * high).astype(np.int64),
        axis,
        initializer,
        weights_axis,
    )


@rule("Conv")
def lower_conv(node: ir.Node, lowering: Lowering) -> Quantity:
    """Conv -> ConvInteger; its bias and scales move on to the neurons."""
    x, weights = _input(node, lowering), lowering.weights(node, 1)
    if weights is None or not weights.per_channel(0):
        raise unsupported(node, "its weights are not quantized per output channel")
    if integer(node, "group", 1) != 1:
        raise unsupported(node, "grouped and depthwise convolutions are not lowered yet")
    if set(ints(node, "dilations", [1])) != {1} or weights.codes.ndim != 4:
        raise unsupported(node, "only two-dimensional convolutions without dilation are lowered")
    if "auto_pad" in node.attributes and node.attributes["auto_pad"].value != "NOTSET":
        raise unsupported(node, "auto_pad is not lowered", "export with explicit pads")
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    initializer = _codes(node, lowering, weights)
    value = lowering.builder.op(
        "ConvInteger",
        [x.value, initializer],
        node.outputs[0].shape.numpy(),
        ir.DataType.INT32,
        name=node.name,
        strides=ints(node, "strides", [1, 1]),
        pads=ints(node, "pads", [0, 0, 0, 0]),
    )
    return _sum(x, weights, bias, value, initializer, axis=1, weights_axis=0)


@rule("Gemm")
def lower_gemm(node: ir.Node, lowering: Lowering) -> Quantity | None:
    """Gemm -> MatMulInteger, or IntegerLinear where it is the classifier."""
    weights = lowering.weights(node, 1)
    if integer(node, "transA", 0) or weights is None:
        raise unsupported(node, "only activations times quantized weights are lowered")
    for factor in ("alpha", "beta"):
        if factor in node.attributes and node.attributes[factor].value != 1.0:
            raise unsupported(node, f"{factor} is not 1")
    if integer(node, "transB", 0):
        weights = weights.transposed([1, 0])
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    return _linear(node, lowering, weights, bias)


@rule("MatMul")
def lower_matmul(node: ir.Node, lowering: Lowering) -> Quantity | None:
    """MatMul -> MatMulInteger with weights; a product of integers between activations."""
    weights = lowering.weights(node, 1)
    if weights is not None:
        return _linear(node, lowering, weights, None)
    a, b = _input(node, lowering, limit=2**31 - 1), lowering.quantity(node, 1)
    if not b.is_plain:
        raise unsupported(node, "its second factor has a bias or a scale per channel")
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
    node: ir.Node, lowering: Lowering, weights: Weights, bias: np.ndarray | None
) -> Quantity | None:
    if weights.codes.ndim != 2 or not weights.per_channel(1):
        raise unsupported(node, "its weights are not quantized per output channel")
    shape = node.outputs[0].shape.numpy()
    if lowering.quantity(node, 0).value.dtype == ir.DataType.INT32:
        _classifier(node, lowering, weights, bias)
        return None
    x = _input(node, lowering)
    initializer = _codes(node, lowering, weights)
    value = lowering.builder.op(
        "MatMulInteger", [x.value, initializer], shape, ir.DataType.INT32, name=node.name
    )
    return _sum(x, weights, bias, value, initializer, axis=len(shape) - 1, weights_axis=1)


def _classifier(
    node: ir.Node, lowering: Lowering, weights: Weights, bias: np.ndarray | None
) -> None:
    x = _input(node, lowering, limit=2**31 - 1)
    classes = weights.codes.shape[1]
    scale = np.broadcast_to(x.scale * weights.scale, classes)
    reach = np.abs(weights.codes).sum(0).max() * int(x.high)
    offset = np.zeros(classes) if bias is None else np.round(bias / scale)
    if reach + np.abs(offset).max() >= 2**31:
        raise unsupported(node, f"its sums reach {int(reach)}, more than 32 bits hold")
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
    )
