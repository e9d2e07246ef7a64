"""Attributes of our ops: hqc/dialect/op.py, and the `check` of each op."""

from __future__ import annotations

import numpy as np

from hqc.dialect import DIALECT, KERNEL
from tests.refusals.case import D, Small, refused


@refused("?")
def neurons_of_an_attribute_that_they_lack(net):
    net.end(net.lif(net.spikes(), leak=0.5, name="lif"))


@refused("?")
def a_quantizer_without_bits(net):
    net.end(net.op("QuantUniform", net.spikes(), net.constant([1.0]), domain=DIALECT, name="act"))


def neurons(net: Small, **attributes: float) -> None:
    net.end(net.lif(net.conv(net.spikes()), name="lif", **attributes))


@refused("?")
def neurons_that_leak_more_than_all(net):
    neurons(net, tau=0.5)


@refused("?")
def neurons_without_a_leak_that_decay_their_input(net):
    neurons(net, tau=float("inf"))


@refused("?")
def neurons_without_a_threshold(net):
    neurons(net, v_threshold=0.0)


@refused("?")
def weights_of_one_bit(net):
    net.end(net.lif(net.op("Conv", net.image(), net.quantized(np.ones((D, 3, 1, 1)), 1, 1.0))))


@refused("?")
def powers_of_two_of_five_bits(net):
    inputs = net.constant(np.ones((D, 3, 1, 1))), net.constant([1.0])
    codes = net.op("QuantPow2", *inputs, domain=DIALECT, bits=5, name="codes")
    net.end(net.lif(net.op("Conv", net.image(), codes)))


@refused("?")
def neurons_of_no_levels(net):
    net.end(net.op("IntegerLIF", net.spikes(), domain=DIALECT, levels=0, name="lif"))


@refused("?")
def a_rescaling_by_63_bits(net):
    numbers = net.constant([1], np.int32), net.constant([1], np.int64)
    y = net.op("Rescale", net.spikes(), *numbers, domain=DIALECT, shift=63, name="rescale")
    net.end(y)


@refused("?")
def a_classifier_whose_bias_has_63_more_bits(net):
    numbers = net.constant(np.ones((D, 2)), np.int8), net.constant([0] * 2, np.int32)
    attributes = {"weight_bits": 8, "weight_scheme": "uniform", "shift": 63}
    net.op(
        "IntegerLinear", net.spikes(), *numbers, net.constant([1.0, 1.0]),
        domain=DIALECT, out="logits", name="head", **attributes,
    )  # fmt: skip


@refused("?")
def spikes_of_nine_planes(net):
    net.end(net.op("PackPlanes", net.spikes(), domain=KERNEL, planes=9, name="pack"))


@refused("?")
def frames_of_negative_bytes(net):
    scale = net.constant([1.0])
    x = net.op("QuantizeFrames", "frames", scale, domain=DIALECT, qmin=-1, qmax=255, name="input")
    net.end(x, (0, 1, 3, 4), 3)
