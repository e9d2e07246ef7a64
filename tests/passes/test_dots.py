"""Products of bytes, four at once: where machines, codes and inputs allow them, and they pay."""

from __future__ import annotations

import numpy as np
import pytest

import hqc
from hqc.codegen.kernels.dotted_tiles import dot_bits
from hqc.codegen.kernels.spike_conv_dense import suits_dense
from hqc.compiler import lower, pipeline_for
from hqc.dialect import ops
from hqc.dialect.facts import Facts
from hqc.frontend.load import load_model
from hqc.passes import DEFAULT, parse_pipeline
from hqc.targets import load_target
from tests.passes.compiled import compiles_to_what_its_floats_say
from tests.refusals.case import Small
from tests.small_models import model_of


def chain(bits: int = 8):
    """A network of neurons that read a layer on potentials, in windows of one pixel."""

    def write(net: Small) -> None:
        x = net.conv(net.conv(net.spikes(), name="inner"), bits=bits, name="outer")
        net.end(net.lif(x, v_threshold=1.0))

    return write


def outer(write, folder, target="host"):
    """The kernel of the layer that reads potentials."""
    net = Small(folder)
    write(net)
    kernels = lower(load_model(net.save(net.path)), pipeline_for(load_target(target))).kernels
    (node,) = (n for n in kernels.graph if n.op_type == "PotentialConv")
    return node


def test_machines_that_add_products_of_bytes_use_as_many_as_there_are(tmp_path):
    expected = {"arm-a76": 128, "arm-a72": 0, "host": dot_bits("host"), "rv32imc": 0}
    for target, bits in expected.items():
        node = outer(chain(), tmp_path, target)
        found = node.attributes["dot_bits"].value if "dot_bits" in node.attributes else 0
        assert found == bits
        if bits:
            x, size = Facts.of(node.inputs[0]), 8 * node.attributes["input_bytes"].value
            assert 2 ** (size - 9) <= max(-x.lowest, x.highest) < 2 ** (size - 1)


def test_what_they_compute_is_what_floats_say(tmp_path):
    compiles_to_what_its_floats_say(chain(), tmp_path)


def test_products_of_bytes_ask_for_codes_that_are_bytes(tmp_path):
    assert "dot_bits" not in outer(chain(bits=12), tmp_path, "arm-a76").attributes


def of_spikes(folder, bits=4):
    """The path of a network whose second layer reads the spikes of 64 channels."""
    net = Small(folder)
    x = net.conv(net.spikes(64), channels=(64, 64), bits=bits, name="layer")
    net.end(net.lif(x, v_threshold=1.0, name="layer.lif"), channels=64)
    net.save(net.path)
    return net.path


def text(options):
    return DEFAULT.replace("choose-kernels", f"choose-kernels{{{options}}}")


@pytest.mark.parametrize(
    ("bits", "options", "expected"),
    [
        (4, "dots=aarch64,rate=95", True),
        (4, "dots=aarch64,rate=5", False),
        (4, "rate=95", False),
        (8, "dots=aarch64,rate=70", True),
        (12, "dots=aarch64,rate=95", False),
        (4, "dots=aarch64,kernel=dense,rate=5", True),
        (12, "dots=aarch64,kernel=dense", False),
    ],
)
def test_spikes_are_bytes_where_nearly_all_fire(tmp_path, bits, options, expected):
    stages = lower(load_model(of_spikes(tmp_path, bits)), parse_pipeline(text(options)))
    (node,) = (n for n in stages.kernels.graph if n.op_type.startswith("SpikeConv"))
    assert (node.attributes["kernel"].value == "dense") is expected
    assert ("dot_bits" in node.attributes) is expected


def test_spikes_as_bytes_give_what_floats_say(tmp_path):
    found = hqc.verify(of_spikes(tmp_path), "host", passes=text("kernel=dense,dots=host"))
    assert found.ok, found


@pytest.mark.parametrize(
    ("planes", "inputs", "bits", "expected"),
    [
        (7, 8, 8, True),
        (8, 8, 8, False),  # 255 is no byte with a sign
        (1, 8, 12, False),
        (7, 133144, 8, True),
        (7, 133145, 8, False),  # sums of 127 * 127 leave 32 bits
    ],
)
def test_inputs_codes_and_sums_fit_the_instruction(planes, inputs, bits, expected):
    op = next(op for op in ops() if op.name == "SpikeConv")
    x = np.zeros((1, 1, 1, planes, -(-inputs // 32)), np.uint32)
    attributes = {
        "channels": inputs, "strides": [1, 1], "pads": [0, 0, 0, 0],
        "weight_bits": bits, "weight_scheme": "uniform", "frac_bits": 0,
    }  # fmt: skip
    constants = [np.full((2, inputs, 1, 1), 127, np.int8), *[np.zeros(2, np.int32)] * 3]
    y = np.zeros((1, 1, 1, 1, 1), np.uint32)
    (node,) = model_of(op, [x, *constants], attributes, y, 1).graph
    assert suits_dense(node) is expected
