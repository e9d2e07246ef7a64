"""Neurons and their potentials: passes/integer_rules/neurons.py and make_integer.py."""

from __future__ import annotations

from tests.refusals.case import D, refused
from tests.refusals.cases.attention import attention


@refused("?")
def attention_of_negative_scale(net):
    attention(net, scale=-0.5)


@refused("?")
def neurons_that_step_along_channels(net):
    y = net.op("Transpose", net.conv(net.spikes()), perm=[1, 0, 2, 3])
    s = net.lif(y, name="lif")
    net.end(net.op("Transpose", s, perm=[1, 0, 2, 3]))


@refused("?", passes="make-integer{mode=exact}")
def exact_potentials_of_too_many_steps(net):
    net.frames = (40, 1, 1, 1, 1)
    net.end(net.lif(net.conv(net.spikes(1), (1, D)), name="lif"))


@refused("?")
def a_bias_of_more_than_32_bits(net):
    y = net.op("Add", net.conv(net.spikes()), net.constant(1e12), name="bias")
    net.end(net.lif(y, name="lif"))


@refused("?")
def a_scale_of_more_than_32_bits(net):
    """Of a shortcut, which neurons cannot take into their thresholds."""
    y = net.conv(net.spikes(), name="loud")
    loud = net.op("Mul", y, net.constant(1e30), name="scale")
    net.end(net.lif(net.op("Add", loud, y, name="add"), name="lif"))


@refused("?")
def an_output_that_no_classifier_gives(net):
    y = net.mean(net.spikes(), [0, 2, 3])
    net.classes = D
    net.view(y, (1, D), out="logits")
