"""Neurons side by side in lanes of words: where they are, and that this is proven."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from hqc.copies import copy_model
from hqc.dialect import find_op
from hqc.dialect.intervals import lanes_hold
from hqc.dialect.invariants import InvariantError
from hqc.frontend.load import load_model
from hqc.passes import DEFAULT, parse_pipeline
from hqc.passes.pipeline import run_passes
from tests.conftest import MODEL


@pytest.fixture(scope="module")
def model():
    return load_model(MODEL)


def layers(model, potential_bits, options, op_type="SpikeConv"):
    """The layers of the model of that kind, lowered so."""
    text = DEFAULT.replace("make-integer", f"make-integer{{potential_bits={potential_bits}}}")
    text = text.replace("choose-kernels", f"choose-kernels{{{options}}}")
    text = text.replace("plan-memory", "plan-memory{vector_bits=0}")
    lowered = run_passes(copy_model(model), parse_pipeline(text))
    return [n for n in lowered.graph if n.op_type == op_type]


def lanes_of(node):
    return find_op(node).attributes(node)["lanes"]


@pytest.mark.parametrize(
    ("potential_bits", "word_bits", "lanes"), [(32, 32, 1), (16, 32, 2), (32, 64, 2), (16, 64, 4)]
)
def test_words_hold_as_many_neurons_as_they_have_room_for(model, potential_bits, word_bits, lanes):
    nodes = layers(model, potential_bits, f"vector_bits=0,word_bits={word_bits}")
    assert {lanes_of(n) for n in nodes} == {lanes}


@pytest.mark.parametrize(("word_bits", "lanes"), [(32, 1), (64, 2)])
def test_the_first_layer_has_some_too(model, word_bits, lanes):
    (node,) = layers(model, 16, f"vector_bits=0,word_bits={word_bits}", "DenseConv")
    assert find_op(node).attributes(node)["potential_bits"] == 32
    assert lanes_of(node) == lanes


def test_vectors_have_none(model):
    assert {lanes_of(n) for n in layers(model, 16, "vector_bits=128,word_bits=64")} == {1}


def test_bit_planes_have_none(model):
    nodes = layers(model, 16, "vector_bits=0,word_bits=64,kernel=planes")
    lanes = {(n.attributes["kernel"].value, lanes_of(n)) for n in nodes}
    assert lanes == {("planes", 1), ("event", 4)}


def test_lanes_that_do_not_hold_neurons_are_found(model):
    node = layers(model, 16, "vector_bits=0")[0]
    find_op(node).verify(node)
    node.inputs[3].const_value = ir.tensor(np.zeros_like(node.inputs[3].const_value.numpy()))
    with pytest.raises(InvariantError, match="2 neurons do not fit the lanes of a word"):
        find_op(node).verify(node)


def test_a_lane_holds_what_its_bits_do():
    neurons = {"exact": 0, "leak_multiplier": 1, "leak_shift": 1, "soft_reset": 0}
    neurons |= {"potential_bits": 16}

    def holds(least, most, threshold=1, reset=0, **other):
        numbers = (np.array([0, n]) for n in (least, most))
        levels = (np.array([5, threshold]), np.array([0, reset]))
        return lanes_hold(*numbers, *levels, neurons | other)

    assert holds(-(2**15) + 1, 2**15 - 1)
    assert not holds(-(2**15), 0)
    assert not holds(0, 2**15)
    assert not holds(0, 1, threshold=0)
    assert not holds(0, 1, reset=1)
    assert holds(-(2**15), 2**15, potential_bits=32)
    for other in ({"exact": 1}, {"leak_multiplier": 3}, {"leak_shift": 0}, {"soft_reset": 1}):
        assert not holds(0, 1, **other)
