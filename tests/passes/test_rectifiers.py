"""Ops that are linear in pieces, sums of several, maxima of images, products of vectors."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.compiled import compiles_to_what_its_floats_say
from tests.refusals.case import D, Small


def clip(net: Small, y: str, *ends: float | None) -> str:
    return net.op("Clip", y, *("" if n is None else net.constant(n) for n in ends))


SLOPES = np.linspace(-0.5, 1.5, D).reshape(D, 1, 1)

POTENTIALS = {
    "Abs": lambda net, y: net.op("Abs", y),
    "LeakyRelu": lambda net, y: net.op("LeakyRelu", y, alpha=0.3),
    "PRelu by channel": lambda net, y: net.op("PRelu", y, net.constant(SLOPES)),
    "Clip": lambda net, y: clip(net, y, -0.5, 0.75),
    "Clip from below": lambda net, y: clip(net, y, 0.25),
    "Clip from above": lambda net, y: clip(net, y, None, 0.5),
    "Max of a number": lambda net, y: net.op("Max", net.constant(0.3), y),
    "Min by channel": lambda net, y: net.op("Min", y, net.constant(SLOPES)),
    "Max of two": lambda net, y: net.op("Max", y, net.op("Neg", y)),
    "Min of two": lambda net, y: net.op("Min", y, net.op("Relu", y)),
    "Sum": lambda net, y: net.op("Sum", y, net.op("Relu", y), y),
    "Mean": lambda net, y: net.op("Mean", y, net.op("Relu", y), net.op("Neg", y)),
}


@pytest.mark.parametrize("name", POTENTIALS)
def test_of_potentials(name, tmp_path):
    def write(net: Small) -> None:
        y = net.conv(net.spikes(), name="conv")
        net.end(net.lif(POTENTIALS[name](net, y), v_threshold=0.2))

    compiles_to_what_its_floats_say(write, tmp_path)


@pytest.mark.parametrize("op_type", ["GlobalMaxPool", "ReduceMax"])
@pytest.mark.parametrize("of_spikes", [True, False])
def test_the_largest_of_an_image(op_type, of_spikes, tmp_path):
    def write(net: Small) -> None:
        y = net.spikes()
        y = y if of_spikes else net.conv(y, name="conv")
        axes = [net.constant([-1, 2], np.int64)] if op_type == "ReduceMax" else []
        largest = net.op(op_type, y, *axes)
        net.end(net.lif(net.conv(largest, name="last"), v_threshold=0.2))

    compiles_to_what_its_floats_say(write, tmp_path)
