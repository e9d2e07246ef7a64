"""Comparisons that are read as numbers: each compiles to what its floats say, by the verdict."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.compiled import compiles_to_what_its_floats_say
from tests.refusals.case import D, Small

OPS = ["GreaterOrEqual", "Greater", "LessOrEqual", "Less"]


def rates(net: Small) -> str:
    """Numbers that tie: sums of spikes with weights of 1, 0 and -1."""
    return net.conv(net.spikes(), bits=2)


def threshold(net: Small) -> str:
    """A number by channel, below, at and above 0."""
    return net.constant(np.linspace(-0.4, 0.6, D).reshape(D, 1, 1))


@pytest.mark.parametrize("op_type", OPS)
def test_a_comparison_as_a_number(op_type, tmp_path):
    def write(net):
        fires = net.op(op_type, rates(net), threshold(net))
        net.end(net.op("Cast", fires, to=1))

    compiles_to_what_its_floats_say(write, tmp_path)


@pytest.mark.parametrize("op_type", OPS)
def test_a_choice_of_two_numbers(op_type, tmp_path):
    def write(net):
        first, second = net.conv(net.spikes()), net.conv(net.spikes(name="other"))
        fires = net.op(op_type, first, second)
        chosen = net.op("Where", fires, net.constant(0.5), net.constant(-2.0))
        net.end(net.lif(net.conv(chosen), v_threshold=0.2))

    compiles_to_what_its_floats_say(write, tmp_path)


def test_neurons_without_a_memory_read_any_axes(tmp_path):
    def write(net):
        turned = net.op("Transpose", rates(net), perm=[1, 0, 3, 2])
        fires = net.op("GreaterOrEqual", turned, net.constant(0.0))
        s = net.op("Transpose", net.op("Cast", fires, to=1), perm=[1, 0, 3, 2])
        net.end(s)

    compiles_to_what_its_floats_say(write, tmp_path)
