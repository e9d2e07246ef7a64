"""Attributes of our ops: hqc/dialect/op.py, and the `check` of each op."""

from __future__ import annotations

import numpy as np

from hqc.dialect import DIALECT, KERNEL
from tests.refusals.case import D, Small, refused


@refused(
    "node 'lif' (ai.hqc::LIF): unknown attribute 'leak'",
    hint="its attributes are: decay_input, soft_reset, tau, v_reset, v_threshold",
)
def neurons_of_an_attribute_that_they_lack(net):
    net.end(net.lif(net.spikes(), leak=0.5, name="lif"))


@refused(
    "node 'act' (ai.hqc::QuantUniform): attribute 'bits' is missing",
)
def a_quantizer_without_bits(net):
    net.end(net.op("QuantUniform", net.spikes(), net.constant([1.0]), domain=DIALECT, name="act"))


def neurons(net: Small, **attributes: float) -> None:
    net.end(net.lif(net.conv(net.spikes()), name="lif", **attributes))


@refused(
    "node 'lif' (ai.hqc::LIF): tau is 0.5, must be at least 1",
)
def neurons_that_leak_more_than_all(net):
    neurons(net, tau=0.5)


@refused(
    "node 'lif' (ai.hqc::LIF): tau = inf (IF neurons) needs decay_input = 0, or no input arrives",
)
def neurons_without_a_leak_that_decay_their_input(net):
    neurons(net, tau=float("inf"))


@refused(
    "node 'lif' (ai.hqc::LIF): v_threshold is 0.0, must be above 0 if tau is not 1",
)
def neurons_without_a_threshold(net):
    neurons(net, v_threshold=0.0)


@refused(
    "node 'lif' (ai.hqc::LIF): v_threshold and v_reset must be finite",
)
def neurons_that_never_fire(net):
    neurons(net, v_threshold=float("inf"))


@refused(
    "node 'lif' (ai.hqc::LIF): v_threshold and v_reset must be finite",
)
def neurons_that_are_reset_to_no_number(net):
    neurons(net, v_reset=float("nan"))


@refused(
    "node 'lif' (ai.hqc::LIF): attribute 'tau' is 2, not of type float",
)
def neurons_of_a_whole_number_for_tau(net):
    neurons(net, tau=2)


@refused(
    "node 'lif' (ai.hqc::LIF): attribute 'soft_reset' is 1.0, not of type int",
)
def neurons_of_a_fraction_for_soft_reset(net):
    neurons(net, soft_reset=1.0)


@refused(
    "node 'act' (ai.hqc::QuantUniform): bits is 4, must be 2 to 16",
)
def a_quantizer_whose_bits_are_a_text(net):
    one = net.constant([1.0])
    net.end(net.op("QuantUniform", net.spikes(), one, domain=DIALECT, bits="4", name="act"))


@refused(
    "node 'QuantUniform_2' (ai.hqc::QuantUniform): bits is 1, must be 2 to 16",
)
def weights_of_one_bit(net):
    net.end(net.lif(net.op("Conv", net.image(), net.quantized(np.ones((D, 3, 1, 1)), 1, 1.0))))


@refused(
    "node 'codes' (ai.hqc::QuantPow2): bits is 5, must be 2 to 4",
)
def powers_of_two_of_five_bits(net):
    inputs = net.constant(np.ones((D, 3, 1, 1))), net.constant([1.0])
    codes = net.op("QuantPow2", *inputs, domain=DIALECT, bits=5, name="codes")
    net.end(net.lif(net.op("Conv", net.image(), codes)))


@refused(
    "node 'lif' (ai.hqc::IntegerLIF): half_up is 2, must be 0 or 1",
)
def halves_that_go_nowhere(net):
    net.end(net.op("IntegerLIF", net.spikes(), domain=DIALECT, levels=2, half_up=2, name="lif"))


@refused(
    "node 'lif' (ai.hqc::IntegerLIF): levels is 0, must be 1 to 255",
)
def neurons_of_no_levels(net):
    net.end(net.op("IntegerLIF", net.spikes(), domain=DIALECT, levels=0, name="lif"))


@refused(
    "node 'rescale' (ai.hqc::Rescale): shift is 63, not 0 to 62",
)
def a_rescaling_by_63_bits(net):
    numbers = net.constant([1], np.int32), net.constant([1], np.int64)
    y = net.op("Rescale", net.spikes(), *numbers, domain=DIALECT, shift=63, name="rescale")
    net.end(y)


@refused(
    "node 'head' (ai.hqc::IntegerLinear): shift is 63, not 0 to 62",
)
def a_classifier_whose_bias_has_63_more_bits(net):
    numbers = net.constant(np.ones((D, 2)), np.int8), net.constant([0] * 2, np.int32)
    attributes = {"weight_bits": 8, "weight_scheme": "uniform", "shift": 63}
    net.op(
        "IntegerLinear", net.spikes(), *numbers, net.constant([1.0, 1.0]),
        domain=DIALECT, out="logits", name="head", **attributes,
    )  # fmt: skip


@refused(
    "node 'pack' (ai.hqc.kernel::PackPlanes): planes is 9, not 1 to 8",
)
def spikes_of_nine_planes(net):
    net.end(net.op("PackPlanes", net.spikes(), domain=KERNEL, planes=9, name="pack"))


@refused(
    "node 'input' (ai.hqc::QuantizeFrames): -1 to 255 are not bytes of its type",
)
def frames_of_negative_bytes(net):
    scale = net.constant([1.0])
    x = net.op("QuantizeFrames", "frames", scale, domain=DIALECT, qmin=-1, qmax=255, name="input")
    net.end(x, (0, 1, 3, 4), 3)
