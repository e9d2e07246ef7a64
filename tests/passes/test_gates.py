"""Products element by element: each compiles to what its floats say, by the verdict."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.compiled import compiles_to_what_its_floats_say
from tests.refusals.case import D, H, Small, T, W

GATES = []


def gates(function):
    """Register a function that writes a network."""
    GATES.append(function)
    return function


def sums(net: Small) -> str:
    """Sums of spikes, from 0 to 2."""
    return net.op("Add", net.spikes(name="first"), net.spikes(name="second"))


def fires(net: Small, x: str) -> str:
    """Neurons that are quick to fire."""
    return net.lif(x, v_threshold=0.1)


@gates
def potentials_times_spikes(net):
    net.end(fires(net, net.op("Mul", net.conv(net.spikes()), net.spikes(name="gate"))))


@gates
def sums_of_spikes_times_normalized_potentials(net):
    x = net.op("Mul", net.conv(net.spikes()), net.constant(np.linspace(-1, 2, D).reshape(D, 1, 1)))
    net.end(fires(net, net.op("Mul", sums(net), x)))


@gates
def sums_of_spikes_times_spikes(net):
    y = net.op("Mul", sums(net), net.spikes(name="gate"))
    net.end(fires(net, net.conv(y)))


@gates
def potentials_times_a_mask_of_positions(net):
    mask = net.op("MaxPool", net.spikes(1, name="gate"), kernel_shape=[1, W])
    net.end(fires(net, net.op("Mul", mask, net.conv(net.spikes()))))


@gates
def potentials_times_a_mask_of_tokens(net):
    rows = net.mean(net.tokens("gate"), [3], keepdims=1)
    y = net.op("MatMul", net.tokens(), net.weights(D, D))
    net.end_of_tokens(fires(net, net.op("Mul", y, fires(net, rows))))


@gates
def potentials_where_nothing_fired_a_step_before(net):
    """As a loop over time has it that is written by hand: v * (1 - s)."""
    x, s = net.conv(net.spikes()), net.spikes(name="gate")
    first, second = (net.view(x, (T, D, H, W)), net.op("Sub", net.constant(1.0), s))
    net.end(fires(net, net.op("Mul", first, second)))


@pytest.mark.parametrize("write", GATES, ids=lambda write: write.__name__)
def test_a_gate(write, tmp_path):
    compiles_to_what_its_floats_say(write, tmp_path)
