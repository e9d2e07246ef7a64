"""Quantizers: passes/integer_rules/quantizers.py."""

from __future__ import annotations

import numpy as np

from hqc.dialect import DIALECT
from tests.refusals.case import C, D, Small, refused


def quantized(net: Small, x: str, scale: object = 1.0, bits: int = 8) -> str:
    inputs = x, scale if isinstance(scale, str) else net.constant(scale)
    return net.op("QuantUniform", *inputs, domain=DIALECT, bits=bits, signed=0, name="quant")


@refused(
    "node 'quant' (ai.hqc::QuantUniform): it quantizes an activation inside the network",
    hint="activations between layers must be spikes; quantize weights and the input only",
)
def an_activation_that_is_quantized(net):
    net.end(net.lif(net.conv(quantized(net, net.spikes()))))


@refused(
    "node 'quant' (ai.hqc::QuantUniform): its scale is 0, must be above 0",
    hint="was training stopped too early?",
)
def weights_of_scale_zero(net):
    ones = net.constant(np.ones((D, C, 1, 1)))
    net.end(net.lif(net.op("Conv", net.image(), quantized(net, ones, [1.0] * 5 + [0.0]))))


def from_frames(net: Small, scale: object = 1.0, bits: int = 8) -> None:
    """A network whose input's quantizer is like that."""
    steps, _, *image = net.frames
    x = net.view(quantized(net, "frames", scale, bits), (steps, *image))
    net.end(net.lif(net.conv(x, (C, D))))


@refused(
    "node 'quant' (ai.hqc::QuantUniform): it quantizes the frames to 9 bits",
    hint="use 8 or fewer",
)
def frames_of_nine_bits(net):
    from_frames(net, bits=9)


@refused(
    "node 'quant' (ai.hqc::QuantUniform): the scale of the frames is [0.5, 1.0, 2.0], must be one "
    "positive number",
)
def frames_of_a_scale_for_each_channel(net):
    scale = net.constant([0.5, 1, 2])
    x = net.op("QuantUniform", "frames", scale, domain=DIALECT, bits=8, axis=2, name="quant")
    net.end(net.lif(net.conv(net.view(x, (2, 3, 4, 5)), (C, D))))


@refused(
    "node 'quant' (ai.hqc::QuantUniform): the scale of the frames is [0.0], must be one positive "
    "number",
)
def frames_of_scale_zero(net):
    from_frames(net, 0.0)


@refused(
    "node 'quant' (ai.hqc::QuantUniform): frames of shape [2, 2, 3, 4, 5]",
    hint="give frames [T, 1, C, H, W], one recording",
)
def a_batch_of_two(net):
    net.frames = (2, 2, 3, 4, 5)
    x = net.view(quantized(net, "frames"), (4, 3, 4, 5))
    net.end(net.lif(net.view(net.conv(x, (C, D)), (2, 12, 4, 5))), channels=12)
