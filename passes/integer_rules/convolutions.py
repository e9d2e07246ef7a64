"""Convolutions: windows of images, of one pixel, of channels in a vote."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from hqc.passes.axes import axes, named
from hqc.passes.graph import integer, ints, unsupported
from hqc.passes.integer_rules import sums
from hqc.passes.integer_rules.pooling import refuse_auto_pad
from hqc.passes.integer_rules.quantity import Lowering, Quantity, Weights
from hqc.passes.integer_rules.registry import rule
from hqc.passes.integer_rules.time_steps import image


@rule("Conv", attributes=("kernel_shape", "strides", "pads", "auto_pad", "dilations", "group"))
def lower_conv(node: ir.Node, lowering: Lowering) -> Quantity:
    """Conv -> ConvInteger, IntegerConv or IntegerDepthwiseConv; bias and scales move on."""
    refuse_auto_pad(node)
    x = lowering.quantity(node, 0)
    weights = sums.read_weights(node, lowering, 0)
    if weights.codes.ndim != 4:
        raise unsupported(node, f"its window has {weights.codes.ndim - 2} dimensions, not 1 or 2")
    group, dilations = integer(node, "group", 1), ints(node, "dilations", [1, 1])
    outputs, inputs = weights.codes.shape[:2]
    if group != 1 and (group < 1 or outputs % group or group * inputs != x.shape[1]):
        raise unsupported(
            node,
            f"its {group} groups are of {inputs} channels and {outputs} outputs, and its input has "
            f"{x.shape[1]} channels",
        )
    strides, pads = ints(node, "strides", [1, 1]), ints(node, "pads", [0, 0, 0, 0])
    pointwise = {*weights.codes.shape[2:], *strides} == {1} and not any(pads) and group == 1
    vote = weights.codes.shape[:3] == (1, 1, 1) and not any(pads[::2])
    if vote and x.view[1:-1] == ((),) * 2 and x.is_channels(-1) and not x.is_image:
        weights = _whole_kernels(weights, group, dilations)
        return _along_channels(node, lowering, x, weights, strides[1], pads)
    if not pointwise:
        x = image(node, lowering)
    elif not x.is_channels(1):
        x = lowering.regarded(node, 0, named(x.view, [1]))
    depthwise = group > 1 and group == len(weights.codes) == x.shape[1] and x.kind != "frames"
    weights = _whole_kernels(weights, 1 if depthwise else group, dilations)
    channels = len(weights.codes)
    if not x.is_bytes:
        x = sums.in_fixed_point(node, lowering, x, weights, 0)
    bias = lowering.constant(node, 2)
    if x.is_image:
        view = axes(*zip("TCYX", node.outputs[0].shape.numpy(), strict=True))
    else:
        view = (x.view[0], *axes(("C", channels)), *x.view[2:])
    total = sums.layer_sum(node, x, weights, bias, view, 0, depthwise=depthwise)
    names = ("", "IntegerDepthwiseConv") if depthwise else ("ConvInteger", "IntegerConv")
    return sums.layer(node, lowering, names, x, weights, total, strides=strides, pads=pads)


def _whole_kernels(weights: Weights, group: int, dilations: list[int]) -> Weights:
    """The weights of a convolution in one group without dilation: zeros where others have none."""
    if group == 1 and {*dilations} == {1}:
        return weights

    def spread(array: np.ndarray) -> np.ndarray:
        outputs, inputs, *kernel = array.shape
        size = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        whole = np.zeros((outputs, group * inputs, *size))
        for g, rows in enumerate(np.split(np.arange(outputs), group)):
            columns = slice(g * inputs, (g + 1) * inputs)
            whole[rows, columns, :: dilations[0], :: dilations[1]] = array[rows]
        return whole

    return replace(weights, codes=spread(weights.codes), rounding=spread(weights.rounding))


def _along_channels(
    node: ir.Node,
    lowering: Lowering,
    x: Quantity,
    weights: Weights,
    stride: int,
    pads: list[int],
) -> Quantity:
    """A window of [T, 1, 1, C] along the channels, as of a vote: a linear layer of few codes."""
    channels = x.shape[-1]
    outputs = node.outputs[0].shape.numpy()[-1]
    bias = lowering.constant(node, 2)
    _, left, _, right = pads

    def spread(taps: np.ndarray) -> np.ndarray:
        """[channels, outputs]: which tap of the window of each output lies on a channel."""
        rows = np.zeros((left + channels + right, outputs))
        for out in range(outputs):
            rows[out * stride : out * stride + taps.size, out] = taps.reshape(-1)
        return rows[left : left + channels]

    codes, rounding = spread(weights.codes), spread(weights.rounding)
    scale = np.float64(weights.scale.item())
    weights = replace(weights, codes=codes, rounding=rounding, scale=scale, axis=1)
    if not x.is_bytes:
        x = sums.in_fixed_point(node, lowering, x, weights, 1)
    view = (*x.view[:-1], *axes(("C", outputs)))
    total = sums.layer_sum(node, x, weights, bias, view, 1)
    return sums.layer(node, lowering, ("MatMulInteger", "IntegerMatMul"), x, weights, total)
