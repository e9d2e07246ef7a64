"""Windows of three dimensions: each compiles to what its floats say, by the verdict."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.compiled import compiles_to_what_its_floats_say
from tests.refusals.case import C, D, H, Small, W

STEPS = 5


def volume(net: Small, time: int) -> str:
    """Spikes as a volume [1, D, ...], whose depth, height and width have time at that place."""
    net.frames = (STEPS, 1, C, H, W)
    x = net.view(net.spikes(), (1, STEPS, D, H, W))
    perm = {0: [0, 2, 1, 3, 4], 1: [0, 2, 3, 1, 4]}[time]
    return net.op("Transpose", x, perm=perm)


def end(net: Small, y: str, channels: int = D) -> None:
    """The classifier of a mean over all of a volume."""
    net.end(y, (2, 3, 4), channels)


@pytest.mark.parametrize("group", [1, 2, D])
@pytest.mark.parametrize("time", [0, 1])
def test_a_convolution(group, time, tmp_path):
    def write(net):
        codes = net.weights(D, D // group, 3, 2, 1)
        places = {"strides": [2, 1, 1], "dilations": [1, 2, 1], "pads": [1, 0, 0, 1, 1, 0]}
        end(net, net.op("Conv", volume(net, time), codes, group=group, **places))

    compiles_to_what_its_floats_say(write, tmp_path)


def test_a_convolution_of_one_step(tmp_path):
    def write(net):
        bias = net.constant(np.linspace(-0.5, 0.5, D))
        y = net.op("Conv", volume(net, 0), net.weights(D, D, 1, 3, 3), bias, pads=[0, 1, 1] * 2)
        s = net.lif(net.op("Transpose", y, perm=[2, 0, 1, 3, 4]), v_threshold=0.2)
        net.end(s, (0, 1, 3, 4))

    compiles_to_what_its_floats_say(write, tmp_path)


@pytest.mark.parametrize("counts", [0, 1])
@pytest.mark.parametrize("time", [0, 1])
def test_a_mean(counts, time, tmp_path):
    def write(net):
        places = {"kernel_shape": [2, 3, 2], "strides": [1, 2, 2], "pads": [1, 0, 1, 0, 2, 0]}
        y = net.op("AveragePool", volume(net, time), count_include_pad=counts, **places)
        end(net, y)

    compiles_to_what_its_floats_say(write, tmp_path)


@pytest.mark.parametrize("pads", [[0] * 6, [1, 0, 1, 1, 1, 0]])
def test_the_largest(pads, tmp_path):
    def write(net):
        places = {"kernel_shape": [2, 2, 2], "strides": [2, 1, 2], "pads": pads}
        end(net, net.op("MaxPool", volume(net, 0), **places))

    compiles_to_what_its_floats_say(write, tmp_path)
