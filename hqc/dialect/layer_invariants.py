"""What kernels of layers take for granted: of their input, their codes, and what ends them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.fixed_point_lif import verify_neurons
from hqc.dialect.integer_conv import verify_conv
from hqc.dialect.intervals import INT32, RangeError, depthwise_interval, sum_interval
from hqc.dialect.invariants import (
    constant_of,
    expect,
    expect_channels,
    facts_of,
)
from hqc.dialect.planes import verify_packed
from hqc.dialect.potentials import verify_potentials
from hqc.dialect.rescale import verify_rescaling

Interval = tuple[np.ndarray, np.ndarray]


def spikes_layer(node: ir.Node) -> Interval:
    """A convolution of packed spikes. Returns what its sums can reach, as the others do."""
    x = facts_of(node.inputs[0], "spikes", "levels")
    channels = node.attributes["channels"].value
    time_steps, *size = verify_packed(node.inputs[0], channels)[:3]
    _verify_place(node, time_steps, verify_conv(node, channels, size))
    return sum_interval(constant_of(node.inputs[1]), np.array(x.low), np.array(x.high))


def frames_layer(node: ir.Node) -> Interval:
    """A convolution of frames [T, C, H, W]."""
    x = facts_of(node.inputs[0], "frames")
    time_steps, channels, *size = node.inputs[0].shape.numpy()
    _verify_place(node, time_steps, verify_conv(node, channels, size))
    return sum_interval(constant_of(node.inputs[1]), np.array(x.low), np.array(x.high))


def potentials_layer(node: ir.Node) -> Interval:
    """A convolution of potentials, of all channels or depthwise."""
    x = facts_of(node.inputs[0], "potentials", "spikes", "levels")
    depthwise = node.op_type == "DepthwiseConv"
    channels, codes = node.attributes["channels"].value, constant_of(node.inputs[1])
    verify_potentials(node.inputs[0], channels)
    time_steps, *size = node.inputs[0].shape.numpy()[:3]
    _verify_place(node, time_steps, verify_conv(node, 1 if depthwise else channels, size))
    if depthwise:
        expect("the codes' output channels", len(codes), channels)
    interval = depthwise_interval if depthwise else sum_interval
    return interval(codes, np.array(x.low), np.array(x.high))


def _verify_place(node: ir.Node, time_steps: int, size: tuple[int, int]) -> None:
    made = list(node.outputs[0].shape.numpy()[:3])
    expect("time steps and positions of its output", made, [time_steps, *size])


def ends_in_neurons(node: ir.Node, sums: Interval) -> None:
    """Neurons of a layer whose codes are bytes and whose sums have 32 bits."""
    channels = len(constant_of(node.inputs[1]))
    expect("the type of its codes", node.inputs[1].dtype, ir.DataType.INT8)
    expect("the planes of its output", verify_packed(node.outputs[0], channels)[3], 1)
    for level in node.inputs[2:]:
        expect_channels(level, channels)
    verify_neurons(node, node.inputs[2:], *sums)


def ends_in_potentials(node: ir.Node, sums: Interval) -> None:
    """The rescaling of a layer whose sums have 32 bits, or 64 where it is `wide`."""
    channels = len(constant_of(node.inputs[1]))
    verify_potentials(node.outputs[0], channels)
    for factor in node.inputs[2:]:
        expect_channels(factor, channels)
    wide = "wide" in node.attributes and node.attributes["wide"].value
    reach = max(-int(sums[0].min()), int(sums[1].max()))
    if reach > INT32 and not wide:
        raise RangeError("its sums do not fit 32 bits", reach / INT32)
    verify_rescaling(node, node.inputs[2:], *sums)
