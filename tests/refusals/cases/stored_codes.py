"""Codes in files: hqc/frontend/stored_codes.py, and the ops that files hold them with."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from hqc.dialect import DIALECT
from tests.refusals.case import D, Small, refused

AGAIN = "export the model again"
NODE = "model.onnx: node 'codes' (ai.hqc::UniformCodes): "


def from_codes(net: Small, *inputs: str, **attributes) -> None:
    """A layer of spikes whose weights [D, D] are the inputs of `UniformCodes`."""
    attributes = {"bits": 4, **attributes}
    w = net.op("UniformCodes", *inputs, domain=DIALECT, name="codes", **attributes)
    y = net.op("MatMul", net.tokens(), w, name="fc")
    net.end_of_tokens(net.lif(y))


def small_codes(net: Small, value: int = 3, size: tuple[int, ...] = (D, D)) -> str:
    return net.constant(np.full(size, value), np.int8)


@refused(NODE + "codes from 9 to 9 are not within -8 to 7", hint=AGAIN)
def codes_of_more_bits_than_the_node_says(net):
    from_codes(net, small_codes(net, 9), net.constant([1.0]))


@refused(NODE + "its codes are no constant of integers of 4, 8 or 16 bits", hint=AGAIN)
def codes_in_floats(net):
    from_codes(net, net.constant(np.ones((D, D))), net.constant([1.0]))


@refused(NODE + "it reads a single number", hint=AGAIN)
def codes_of_a_single_number(net):
    from_codes(net, small_codes(net, 3, ()), net.constant([1.0]))


@refused(NODE + "its scale is no constant in float32", hint=AGAIN)
def codes_of_a_scale_in_double_precision(net):
    from_codes(net, small_codes(net), net.constant([1.0], np.float64))


@refused(NODE + "axis 2 is none of [6, 6]", hint=AGAIN)
def codes_along_an_axis_that_there_is_not(net):
    from_codes(net, small_codes(net), net.constant([1.0]), axis=2)


@refused(
    NODE + "scales [4] are neither one number nor one for each of 6 channels",
    hint=AGAIN,
)
def codes_of_scales_for_other_channels(net):
    from_codes(net, small_codes(net), net.constant(np.ones(4)))


@refused(
    NODE + "its scale is 0, or so small or large that its codes are rounded",
    hint=AGAIN,
)
def codes_of_a_scale_whose_multiples_are_infinite(net):
    from_codes(net, small_codes(net), net.constant([2e38]))


@refused(NODE + "its codes of 2 bits are no constant of 9 bytes", hint=AGAIN)
def codes_of_two_bits_in_too_few_bytes(net):
    fields = net.constant(np.zeros(8), np.uint8)
    codes = net.op("TwoBitCodes", fields, domain=DIALECT, shape=[D, D])
    from_codes(net, codes, net.constant([1.0]), bits=2)


@refused("node 'codes' (ai.hqc::UniformCodes): bits is 1, must be 2 to 16")
def codes_of_one_bit(net):
    from_codes(net, small_codes(net), net.constant([1.0]), bits=1)


@refused(
    "node 'fields' (ai.hqc::TwoBitCodes): shape is [6, 0], must be of sizes above 0",
)
def codes_of_an_empty_shape(net):
    fields = net.constant(np.zeros(9), np.uint8)
    codes = net.op("TwoBitCodes", fields, domain=DIALECT, shape=[D, 0], name="fields")
    from_codes(net, codes, net.constant([1.0]), bits=2)


@refused(NODE + "it has 1 inputs, not 2", hint=AGAIN)
def codes_without_a_scale(net):
    """As the checker lets it pass: the body of the op is not in the file."""
    net.end(net.spikes())
    proto = onnx.load(net.save(net.path))
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((D, D), np.int8), "c"))
    node = helper.make_node("UniformCodes", ["c"], ["w"], name="codes", domain=DIALECT, bits=4)
    proto.graph.node.insert(0, node)
    return proto
