"""What layers are made of: sums of integer codes over spikes, levels, frames or potentials.

Sums of spikes end in neurons, or in potentials. A layer of potentials (the inner ones of a
separable convolution or a RepConv) reads them in fixed point.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.dialect.intervals import INT32, RangeError, depthwise_interval, sum_interval
from hqc.dialect.metadata import LAYER
from hqc.passes.axes import Axes
from hqc.passes.graph import unsupported
from hqc.passes.integer_rules.quantity import (
    BITS,
    FINE,
    SCHEME,
    Lowering,
    Quantity,
    Weights,
    rescaled,
)

_FLOAT_SUM = 2**24
"""What the codes of a layer left in float32 may add up to: a float32's precision."""

_PRODUCT_BITS = 61
"""What a sum of potentials, times its rescaling's multiplier, may take of 64 bits."""

_LEAST_BITS = {np.int8: 0, np.int16: 9, np.int32: 17}
"""Bits that say how wide codes of a type are stored, where their quantizer had fewer."""


def _stored(codes: np.ndarray) -> np.dtype:
    """The narrowest type that holds the codes."""
    kinds = (np.int8, np.int16, np.int32)
    low, high = codes.min(initial=0), codes.max(initial=0)
    return next(k for k in kinds if np.iinfo(k).min <= low and high <= np.iinfo(k).max)


def store_codes(node: ir.Node, lowering: Lowering, weights: Weights) -> ir.Value:
    """The initializer of the codes, in the narrowest type that holds them."""
    codes = np.ascontiguousarray(weights.codes.astype(_stored(weights.codes)))
    value = lowering.builder.initializer(codes, f"{node.name}.codes")
    value.metadata_props[BITS] = str(max(weights.bits, _LEAST_BITS[codes.dtype.type]))
    value.metadata_props[SCHEME] = weights.scheme
    if LAYER in node.metadata_props:  # sums over channels and windows have weights, and are none
        value.metadata_props[LAYER] = node.metadata_props[LAYER]
    return value


def read_weights(
    node: ir.Node, lowering: Lowering, axis: int, perm: list[int] | None = None
) -> Weights:
    """The node's second input as codes whose scale varies along `axis` alone.

    Weights left in float32 become codes of 32 bits: as fine as lets the largest sum of them have
    the 24 bits of a float32's significand.
    """
    found = lowering.weights(node, 1)
    if found is None:
        raise unsupported(node, "its weights are computed; only constant ones are lowered")
    if isinstance(found, Weights):
        found = found.transposed(perm) if perm else found
        if not found.per_channel(axis):
            raise unsupported(
                node,
                f"its weights have {found.scale.size} scales along an axis that is not its output "
                "channels",
                "give their quantizer one scale, or the axis of the output channels",
            )
        return found
    array = (found.transpose(perm) if perm else found).astype(np.float64)
    rows = np.moveaxis(np.abs(array), axis, 0)
    reach = rows.reshape(len(rows), -1).sum(1)
    scale = np.where(reach > 0, reach, 1) / _FLOAT_SUM
    shape = [1] * array.ndim
    shape[axis] = -1
    codes = np.round(array / scale.reshape(shape))
    rounding = np.abs(array - codes * scale.reshape(shape))
    return Weights(codes, scale, axis, 32, "uniform", rounding)


def layer_sum(
    node: ir.Node,
    x: Quantity,
    weights: Weights,
    bias: np.ndarray | None,
    view: Axes,
    weights_axis: int,
    *,
    depthwise: bool = False,
) -> Quantity:
    """The quantity of sums over all axes of the codes but `weights_axis`, one channel each.

    Its value is still the input's. Its interval is what the codes can reach with inputs in the
    interval of x, or with padding.
    """

    def by_input(array: np.ndarray) -> np.ndarray:
        """[outputs, inputs, taps]"""
        rows = np.moveaxis(array, weights_axis, 0)
        return rows.reshape(*rows.shape[:2], -1)

    if not x.is_plain:
        raise ValueError(f"{node.name}: its input is scaled and shifted by {x.scale}, {x.offset}")
    rows = by_input(weights.codes).astype(np.int64)
    outputs, inputs = rows.shape[:2]

    def summed(factors: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Magnitudes of weights times what each input channel has, added up by output."""
        taps = factors.sum(2)
        wide = np.broadcast_to(numbers, outputs if depthwise else inputs)
        return taps[:, 0] * wide if depthwise else taps @ wide

    interval = depthwise_interval if depthwise else sum_interval
    try:
        low, high = interval(rows, x.low, x.high)
    except RangeError as error:
        raise unsupported(node, error.what, "quantize its weights to fewer bits") from None
    scale = np.broadcast_to(x.scale * weights.scale, outputs).astype(np.float64)
    error = summed(np.abs(rows), x.error) * np.broadcast_to(weights.scale, outputs)
    error = error + summed(by_input(weights.rounding), x.float_reach)
    offset = np.float64(0) if bias is None else bias.astype(np.float64).reshape(-1)
    if offset.size not in (1, outputs):
        raise unsupported(node, f"its bias has {offset.size} numbers for {outputs} outputs")
    offset = np.broadcast_to(offset, outputs).astype(np.float64)
    return Quantity(x.value, "sums", view, scale, offset, low, high, error, None, weights_axis)


def layer(
    node: ir.Node,
    lowering: Lowering,
    op_types: tuple[str, str],
    x: Quantity,
    weights: Weights,
    sums: Quantity,
    **attributes: object,
) -> Quantity:
    """The sums by an op of standard ONNX, where bytes and 32 bits do, else by ours of 64 bits."""
    initializer = store_codes(node, lowering, weights)
    narrow = x.is_bytes and initializer.dtype == ir.DataType.INT8 and sums.reach <= INT32
    narrow = narrow and bool(op_types[0])
    return lowering.emit(
        node,
        op_types[0] if narrow else op_types[1],
        [x.value, initializer],
        replace(sums, weights=initializer if narrow else None),
        ir.DataType.INT32 if narrow else ir.DataType.INT64,
        domain="" if narrow else DIALECT,
        **attributes,
    )


def in_fixed_point(
    node: ir.Node, lowering: Lowering, x: Quantity, weights: Weights, axis: int
) -> Quantity:
    """The node's input, x, as potentials, as fine as the sums over them allow.

    Sums stay in 32 bits where that leaves potentials fine enough. In 64, what is left of them is
    shared between the potentials and the multiplier that the sums are rescaled by.
    """
    rows = np.moveaxis(np.abs(weights.codes), axis, 0)
    largest = max(int(rows.reshape(len(rows), -1).sum(1).max()), 1)
    reach = max(float(np.max(x.float_reach)), 2.0**-60) * 1.01
    unit = reach / (INT32 // largest)
    if not 0 < unit <= FINE * lowering.stream(node, 0).threshold:
        bits = min((_PRODUCT_BITS - largest.bit_length()) // 2, 30)
        unit = reach / 2**bits
    return rescaled(node, x, lowering, unit)
