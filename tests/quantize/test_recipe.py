"""Recipes: the first pattern that matches a layer's name decides; none may be idle."""

from __future__ import annotations

import pytest
from torch import nn

from hqc.errors import UserError
from hqc.quantize import apply_recipe, average_bits
from hqc.quantize.recipe import resolve


def network():
    stem = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Conv1d(4, 4, 1))
    return nn.ModuleDict({"stem": stem, "head": nn.Linear(4, 10)})


def test_the_first_pattern_decides():
    recipe = {"stem.0": "8u", "stem.*": "2l", "*": "fp32"}
    assert resolve(network(), recipe) == {"stem.0": "8u", "stem.1": "2l", "head": "fp32"}
    weights = {"stem.0": 72, "stem.1": 16, "head": 40}
    bits = 8 * weights["stem.0"] + 2 * weights["stem.1"] + 32 * weights["head"]
    assert average_bits(network(), recipe) == bits / sum(weights.values())


def test_a_pattern_that_another_hides_is_not_idle():
    assert resolve(network(), {"*": "4u", "head": "8u"})["head"] == "4u"


def test_layers_left_out_are_listed():
    with pytest.raises(UserError, match=r"no quantizer for 'stem.1', 'head'") as caught:
        resolve(network(), {"stem.0": "4u"})
    assert '"*"' in caught.value.hint


@pytest.mark.parametrize("pattern", ["stem.2", "Head", "conv*"])
def test_a_pattern_that_no_layer_matches_is_refused(pattern):
    net = network()
    with pytest.raises(
        UserError, match=f"pattern '{pattern}' matches no layer".replace("*", r"\*")
    ):
        apply_recipe(net, {pattern: "8u", "*": "4u"})
    assert not hasattr(net["head"], "parametrizations")
    with pytest.raises(UserError, match="no layer") as caught:
        resolve(net, {pattern: "8u"})
    assert caught.value.hint == "layers with weights are: stem.0, stem.1, head"
