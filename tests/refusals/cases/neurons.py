"""Neurons and their potentials: passes/integer_rules/neurons.py and make_integer.py."""

from __future__ import annotations

from tests.refusals.case import D, refused
from tests.refusals.cases.attention import attention


@refused(
    "node 'attention' (ai.hqc::LIF): it reads a product of activations times -0.5",
    hint="multiply by a positive number",
)
def attention_of_negative_scale(net):
    attention(net, scale=-0.5)


@refused(
    "node 'lif' (ai.hqc::LIF): its input's axes are [C T Y X], whose first is not the 2 time steps",
    hint="give neurons [T, ...]",
)
def neurons_that_step_along_channels(net):
    y = net.op("Transpose", net.conv(net.spikes()), perm=[1, 0, 2, 3])
    s = net.lif(y, name="lif")
    net.end(net.op("Transpose", s, perm=[1, 0, 2, 3]))


@refused(
    "node 'stem.lif' (ai.hqc::LIF): its membrane potential takes in up to 48.2 a step, which "
    "leaves no room in 32 bits over all time steps",
    hint="use guarded mode, or train this layer with fewer bits",
    passes="make-integer{mode=exact}",
)
def exact_potentials_of_too_many_steps(net):
    net.frames = (40, 1, 1, 1, 1)
    net.end(net.lif(net.conv(net.spikes(1), (1, D)), name="lif"))


@refused(
    "node 'lif' (ai.hqc::LIF): its membrane potentials do not fit 32 bits beside the least "
    "threshold that reads them, 1",
    hint="is a scale or a bias before it, as of a BatchNorm, far too large?",
)
def a_bias_of_more_than_32_bits(net):
    y = net.op("Add", net.conv(net.spikes()), net.constant(1e12), name="bias")
    net.end(net.lif(y, name="lif"))


@refused(
    "node 'add' (Add): its membrane potentials do not fit 32 bits beside the least threshold that "
    "reads them, 1",
    hint="is a scale or a bias before it, as of a BatchNorm, far too large?",
)
def a_scale_of_more_than_32_bits(net):
    """Of a shortcut, which neurons cannot take into their thresholds."""
    y = net.conv(net.spikes(), name="loud")
    loud = net.op("Mul", y, net.constant(1e30), name="scale")
    net.end(net.lif(net.op("Add", loud, y, name="add"), name="lif"))
