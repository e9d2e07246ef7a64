"""IntegerConv and IntegerDepthwiseConv: convolutions of integers of any width, exact in 64 bits.

`ConvInteger` of standard ONNX takes bytes alone. These also take wider codes, and potentials in
fixed point.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from hqc.dialect.intervals import depthwise_interval, sum_interval
from hqc.dialect.invariants import constant_of, expect, expect_shape, expect_within, facts_of
from hqc.dialect.op import Op, register


def windows(
    x: np.ndarray, kernel: tuple[int, ...], strides: list[int], pads: list[int], padding: float = 0
) -> np.ndarray:
    """x [B, C, H, W] -> [B, C, H', W', kh, kw], padded as ONNX's pads say."""
    around = ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3]))
    padded = np.pad(x, around, constant_values=padding)
    views = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(2, 3))
    return views[:, :, :: strides[0], :: strides[1]]


def integer_conv(
    x: np.ndarray, weights: np.ndarray, *, strides: list[int], pads: list[int]
) -> np.ndarray:
    """x integers [B, C, H, W], weights integers [O, C, kh, kw] -> int64 [B, O, H', W']."""
    seen = windows(x.astype(np.int64), weights.shape[2:], strides, pads)
    return np.einsum("bchwij,ocij->bohw", seen, weights.astype(np.int64), optimize=True)


def integer_depthwise_conv(
    x: np.ndarray, weights: np.ndarray, *, strides: list[int], pads: list[int]
) -> np.ndarray:
    """x integers [B, C, H, W], weights integers [C, 1, kh, kw] -> int64 [B, C, H', W']."""
    seen = windows(x.astype(np.int64), weights.shape[2:], strides, pads)
    return np.einsum("bchwij,cij->bchw", seen, weights[:, 0].astype(np.int64), optimize=True)


def _text(name: str, product: str) -> str:
    """The function of a convolution that adds up `product(weights of a tap, its inputs)`."""
    return f"""
        {name} <strides, pads> (x, weights) => (y)
        {{
            zero = Constant <value_int = 0> ()
            one = Constant <value_int = 1> ()
            minus_one = Constant <value_ints = [-1]> ()
            image_axes = Constant <value_ints = [2, 3]> ()
            pads = Constant <value_ints: ints = @pads> ()
            strides = Constant <value_ints: ints = @strides> ()
            x_wide = Cast <to = 7> (x)
            padded = Pad(x_wide, pads, , image_axes)
            weights_wide = Cast <to = 7> (weights)
            taps_first = Transpose <perm = [2, 3, 0, 1]> (weights_wide)
            tap_shape = Shape <start = 2> (taps_first)
            flat_shape = Concat <axis = 0> (minus_one, tap_shape)
            taps = Reshape(taps_first, flat_shape)
            kernel = Shape <start = 2> (weights)
            kernel_width = Gather(kernel, one)
            tap_count = Shape <end = 1> (taps)
            count = Squeeze(tap_count)
            indices = Range(zero, count, one)
            batch = Shape <end = 1> (x)
            outputs = Shape <end = 1> (weights)
            inputs = Shape <start = 1, end = 2> (x)
            size = Shape <start = 2> (padded)
            room = Sub(size, kernel)
            steps = Div(room, strides)
            out_size = Add(steps, one)
            reach = Mul(steps, strides)
            span = Add(reach, one)
            rows_shape = Concat <axis = 0> (batch, inputs, minus_one)
            positions = ReduceProd <keepdims = 1> (out_size)
            sums_shape = Concat <axis = 0> (batch, outputs, positions)
            start_value = Constant <value = int64[1] {{0}}> ()
            nothing = Expand(start_value, sums_shape)
            sums = Scan <num_scan_inputs = 2, body = step (acc, index, tap) => (acc_next) {{
                row = Div(index, kernel_width)
                column = Mod(index, kernel_width)
                row_dim = Reshape(row, minus_one)
                column_dim = Reshape(column, minus_one)
                first = Concat <axis = 0> (row_dim, column_dim)
                last = Add(first, span)
                seen = Slice(padded, first, last, image_axes, strides)
                rows = Reshape(seen, rows_shape)
                product = {product}(tap, rows)
                acc_next = Add(acc, product)
            }}> (nothing, indices, taps)
            y_shape = Concat <axis = 0> (batch, outputs, out_size)
            y = Reshape(sums, y_shape)
        }}
        """


def verify_conv(node: ir.Node, channels: int, size: Sequence[int]) -> tuple[int, int]:
    """A convolution's codes and window against an input of that many channels and that size.

    Returns the size of its output.
    """
    weights = node.inputs[1].shape.numpy()
    expect("the codes' rank", len(weights), 4)
    expect("the codes' input channels", weights[1], channels)
    top, left, bottom, right = node.attributes["pads"].value
    strides = node.attributes["strides"].value
    padded = size[0] + top + bottom, size[1] + left + right
    height, width = ((n - k) // s + 1 for n, k, s in zip(padded, weights[2:], strides, strict=True))
    return height, width


def verify_integer_conv(node: ir.Node) -> None:
    """A convolution of codes on integers [B, C, H, W]."""
    x = facts_of(node.inputs[0], "frames", "spikes", "levels", "potentials")
    facts_of(node.outputs[0], "sums")
    depthwise = node.op_type == "IntegerDepthwiseConv"
    batch, channels, *size = node.inputs[0].shape.numpy()
    made = verify_conv(node, 1 if depthwise else channels, size)
    codes = constant_of(node.inputs[1])
    if depthwise:
        expect("the codes' output channels", len(codes), channels)
    expect_shape(node.outputs[0], (batch, len(codes), *made))
    interval = depthwise_interval if depthwise else sum_interval
    expect_within(node.outputs[0], *interval(codes, np.array(x.low), np.array(x.high)))


INTEGER_CONV = register(
    Op(_text("IntegerConv", "MatMul"), reference=integer_conv, verify=verify_integer_conv)
)
INTEGER_DEPTHWISE_CONV = register(
    Op(
        _text("IntegerDepthwiseConv", "Mul"),
        reference=integer_depthwise_conv,
        verify=verify_integer_conv,
    )
)
