"""Products of bytes, four at once, in layers on potentials: where machines and codes allow them."""

from __future__ import annotations

from hqc.codegen.kernels.dotted_tiles import dot_bits
from hqc.compiler import lower, pipeline_for
from hqc.dialect.facts import Facts
from hqc.frontend.load import load_model
from hqc.targets import load_target
from tests.passes.compiled import compiles_to_what_its_floats_say
from tests.refusals.case import Small


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
