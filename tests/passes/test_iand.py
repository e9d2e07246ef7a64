"""Spikes where others do not fire, as SEW-ResNet's IAND: x * (1 - y)."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.compiled import compiles_to_what_its_floats_say
from tests.refusals.case import Small

PRODUCTS = {
    "x (1 - y)": lambda net, x, y: net.op("Mul", x, less(net, y)),
    "(1 - y) x": lambda net, x, y: net.op("Mul", less(net, y), x),
    "x (-y + 1)": lambda net, x, y: net.op(
        "Mul", x, net.op("Add", net.op("Neg", y), net.constant(1.0))
    ),
    "x (1 - a mask)": lambda net, x, y: net.op("Mul", x, less(net, mask(net, y))),
    "a mask (1 - y)": lambda net, x, y: net.op("Mul", mask(net, x), less(net, y)),
}


def less(net: Small, y: str) -> str:
    return net.op("Sub", net.constant(1.0), y)


def mask(net: Small, y: str) -> str:
    """Neurons of the sum over positions: [T, D, 1, 1]."""
    return net.lif(net.op("ReduceSum", y, net.constant([2, 3], np.int64)), v_threshold=3.0)


@pytest.mark.parametrize("name", PRODUCTS)
def test_where_others_do_not_fire(name, tmp_path):
    def write(net: Small) -> None:
        x, y = net.spikes(), net.spikes(name="other")
        product = PRODUCTS[name](net, x, y)
        net.end(net.lif(net.conv(product, name="conv"), v_threshold=0.2))

    compiles_to_what_its_floats_say(write, tmp_path)
