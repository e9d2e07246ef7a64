"""How wide the potentials are that layers read: no wider than what reads their sums can tell."""

from __future__ import annotations

import numpy as np
import pytest

from hqc.codegen.kernels.dotted_tiles import dot_bits
from hqc.compiler import lower, pipeline_for
from hqc.dialect.facts import Facts
from hqc.frontend.load import load_model
from hqc.passes.integer_rules.onward import share_of_thresholds
from hqc.targets import load_target
from tests.passes.compiled import compiles_to_what_its_floats_say
from tests.refusals.case import D, Small

LITTLE = 2.0**-10


def chain(net: Small, bits: int = 8) -> str:
    """Sums of a layer of potentials, in windows of one pixel."""
    return net.conv(net.conv(net.spikes(), name="inner"), bits=bits, name="outer")


def normalized(net: Small, x: str, gamma: float) -> str:
    """A BatchNormalization that multiplies by about gamma."""
    numbers = (np.full(D, gamma), np.zeros(D), np.zeros(D), np.ones(D))
    return net.op("BatchNormalization", x, *map(net.constant, numbers), epsilon=1e-9)


def ends(v_threshold: float, gamma: float = 1.0):
    """A network of a chain whose sums neurons of that threshold read, behind a BatchNorm."""

    def write(net: Small) -> None:
        net.end(net.lif(normalized(net, chain(net), gamma), v_threshold=v_threshold))

    return write


def outer(write, folder, target="host"):
    """The kernel of the layer that reads potentials."""
    net = Small(folder)
    write(net)
    kernels = lower(load_model(net.save(net.path)), pipeline_for(load_target(target))).kernels
    (node,) = (n for n in kernels.graph if n.op_type == "PotentialConv")
    return node


def reach(node) -> int:
    """What the potentials reach that a kernel reads."""
    x = Facts.of(node.inputs[0])
    return max(-x.lowest, x.highest)


@pytest.mark.parametrize(
    ("v_threshold", "gamma"), [(1.0, 1.0), (0.02, 1.0), (2.0, 100.0), (1e-4, 0.005)]
)
def test_three_bytes_are_enough_where_neurons_can_not_tell(v_threshold, gamma, tmp_path):
    node = outer(ends(v_threshold, gamma), tmp_path)
    assert 2**21 < reach(node) < 2**23
    compiles_to_what_its_floats_say(ends(v_threshold, gamma), tmp_path)


@pytest.mark.parametrize(("v_threshold", "gamma"), [(1e-4, 1.0), (0.02, 100.0)])
def test_potentials_are_wider_where_neurons_can_tell(v_threshold, gamma, tmp_path):
    node = outer(ends(v_threshold, gamma), tmp_path)
    assert reach(node) > 2**23
    assert node.attributes["wide"].value
    compiles_to_what_its_floats_say(ends(v_threshold, gamma), tmp_path)


def test_machines_that_add_products_of_bytes_use_as_many_as_there_are(tmp_path):
    expected = {"arm-a76": 128, "arm-a72": 0, "host": dot_bits("host"), "rv32imc": 0}
    for target, bits in expected.items():
        node = outer(ends(1.0), tmp_path, target)
        found = node.attributes["dot_bits"].value if "dot_bits" in node.attributes else 0
        assert found == bits
        assert not bits or node.attributes["input_bytes"].value == 3
    wide = outer(ends(1e-4), tmp_path, "arm-a76")
    assert wide.attributes["input_bytes"].value == 4


def test_products_of_bytes_ask_for_codes_that_are_bytes(tmp_path):
    def write(net: Small) -> None:
        net.end(net.lif(chain(net, bits=12), v_threshold=1.0))

    assert "dot_bits" not in outer(write, tmp_path, "arm-a76").attributes


SHARES = {
    "neurons that keep half": (lambda net, x: net.lif(x, v_threshold=0.5), 2.0),
    "neurons that keep all": (
        lambda net, x: net.lif(x, v_threshold=0.5, tau=float("inf"), decay_input=0), 4.0
    ),
    "a factor, and one over": (
        lambda net, x: net.lif(
            net.op("Div", net.op("Mul", x, net.constant(-6.0)), net.constant(2.0)), v_threshold=1.0
        ),
        3.0,
    ),
    "the largest of factors by channel": (
        lambda net, x: net.lif(
            net.op("Mul", x, net.constant(np.arange(D, dtype=float).reshape(D, 1, 1)))
        ),
        D - 1.0,
    ),
    "a BatchNorm": (lambda net, x: net.lif(normalized(net, x, 8.0)), 8.0),
    "a sum with itself": (lambda net, x: net.lif(net.op("Add", x, net.op("Relu", x))), 2.0),
    "the first of two neurons": (
        lambda net, x: net.op("Add", net.lif(x, v_threshold=0.25), net.lif(x, v_threshold=4.0)),
        4.0,
    ),
    "neurons that any input reaches": (
        lambda net, x: net.lif(x, v_threshold=-1.0, tau=1.0), np.inf
    ),
    "another layer": (lambda net, x: net.lif(net.conv(x)), np.inf),
    "a product with spikes": (
        lambda net, x: net.lif(net.op("Mul", x, net.spikes(name="gate"))), np.inf
    ),
    "a layer beside neurons": (
        lambda net, x: net.op("Add", net.lif(x), net.lif(net.conv(x))), np.inf
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SHARES)
def test_errors_are_followed_to_the_neurons(what, tmp_path):
    write, share = SHARES[what]
    net = Small(tmp_path)
    x = net.conv(net.spikes(), name="layer")
    net.end(write(net, x))
    model = load_model(net.save(net.path))
    (layer,) = (n for n in model.graph if n.name == "layer")
    steps = model.graph.inputs[0].shape[0]
    remembered = {"neurons that keep all": steps / 4 * 2}.get(what, 1 - 0.5**steps)
    expected = share if np.isinf(share) else share * remembered
    assert share_of_thresholds(layer.outputs[0], LITTLE) == pytest.approx(expected * LITTLE)


def test_errors_of_outputs_are_not_said_to_be_little(tmp_path):
    net = Small(tmp_path)
    x = net.conv(net.spikes(), name="layer")
    net.op("Identity", net.mean(x, [0, 2, 3]), out="value")
    net.head(net.view("value", (1, D)), D)
    model = load_model(net.save(net.path))
    (layer,) = (n for n in model.graph if n.name == "layer")
    assert share_of_thresholds(layer.outputs[0], LITTLE) == np.inf
