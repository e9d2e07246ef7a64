"""Transposed convolutions, as decoders have them, against torch's own."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.compiled import compiles_to_what_its_floats_say
from tests.refusals.case import D, Small

CASES = {
    "of stride 1": (3, {}),
    "of stride 2": (2, {"strides": [2, 2]}),
    "of stride 2 and a window of 3": (3, {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "whose output is a row longer": (
        3,
        {"strides": [2, 3], "pads": [1, 0, 1, 1], "output_padding": [1, 2]},
    ),
    "of whose rows the last are cut off": (2, {"strides": [2, 2], "pads": [0, 0, 3, 0]}),
    "of every channel by itself": (2, {"strides": [2, 1], "group": D}),
    "of a window smaller than its stride": (2, {"strides": [3, 3]}),
}


@pytest.mark.parametrize("of_spikes", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_a_transposed_convolution(name, of_spikes, tmp_path):
    size, attributes = CASES[name]
    each = D // attributes.get("group", 1)
    rng = np.random.default_rng(0)

    def write(net: Small) -> None:
        x = net.spikes()
        x = x if of_spikes else net.conv(x, name="before")
        weights = net.constant(rng.normal(size=(D, each, size, size)))
        bias = net.constant(rng.normal(size=D))
        y = net.op("ConvTranspose", x, weights, bias, name="up", **attributes)
        net.end(net.lif(y, v_threshold=0.3))

    compiles_to_what_its_floats_say(write, tmp_path)
