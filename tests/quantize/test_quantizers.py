"""Quantizers: torch equals numpy bit for bit; levels, order and error are as defined."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.nn.utils import prune

from hqc.dialect.quant_pow2 import pow2_codes, quant_pow2
from hqc.dialect.quant_uniform import quant_uniform, uniform_codes
from hqc.errors import UserError
from hqc.quantize import QuantPow2, QuantUniform, apply_recipe, average_bits

numbers = st.floats(-100, 100, width=32, allow_subnormal=False)
arrays = hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=numbers)
scales = st.floats(0.0078125, 4, width=32)
examples = settings(max_examples=60, deadline=None)


@examples
@given(arrays, scales, st.integers(2, 16), st.booleans(), st.booleans())
def test_uniform_in_torch_equals_numpy(x, scale, bits, signed, narrow):
    module = QuantUniform(bits, signed=signed, narrow=narrow and signed).eval()
    module.scale.data.fill_(scale)
    expected = quant_uniform(
        x, np.float32(scale), bits=bits, signed=int(signed), narrow=int(narrow and signed)
    )
    np.testing.assert_array_equal(module(torch.tensor(x)).detach().numpy(), expected)


@examples
@given(arrays, scales, st.integers(2, 4))
def test_pow2_in_torch_equals_numpy(x, scale, bits):
    module = QuantPow2(bits).eval()
    module.scale.data.fill_(scale)
    expected = quant_pow2(x, np.float32(scale), bits=bits)
    np.testing.assert_array_equal(module(torch.tensor(x)).detach().numpy(), expected)


@examples
@given(arrays, st.integers(2, 16), st.integers(-4, 3))
def test_uniform_is_idempotent_monotone_and_near(x, bits, exponent):
    scale = np.float32(2.0**exponent)
    y = quant_uniform(x, scale, bits=bits)
    np.testing.assert_array_equal(quant_uniform(y, scale, bits=bits), y)
    order = np.argsort(x, axis=None)
    assert (np.diff(y.reshape(-1)[order]) >= 0).all()
    codes = uniform_codes(x, scale, bits=bits)
    inside = np.abs(codes) < 2 ** (bits - 1) - 1
    assert (np.abs(x - y)[inside] <= scale / 2).all()
    assert codes.min() >= -(2 ** (bits - 1))
    assert codes.max() <= 2 ** (bits - 1) - 1


@examples
@given(arrays, st.integers(2, 4), st.integers(-4, 3))
def test_pow2_is_idempotent_monotone_and_nearest(x, bits, exponent):
    scale = np.float32(2.0**exponent)
    y = quant_pow2(x, scale, bits=bits)
    np.testing.assert_array_equal(quant_pow2(y, scale, bits=bits), y)
    order = np.argsort(x, axis=None)
    assert (np.diff(y.reshape(-1)[order]) >= 0).all()
    magnitudes = scale * 2.0 ** -np.arange(2 ** (bits - 1) - 1)
    levels = np.concatenate([-magnitudes, [0], magnitudes])
    nearest = np.abs(x[..., None] - levels).min(-1)
    np.testing.assert_array_equal(np.abs(x.astype(np.float64) - y), nearest)
    assert set(np.abs(pow2_codes(x, scale, bits=bits)).reshape(-1)) <= {0, 1, 2, 4, 8, 16, 32, 64}


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_pow2_ties_go_to_the_larger_magnitude(bits):
    levels = [0.0] + [2.0**-k for k in reversed(range(2 ** (bits - 1) - 1))]
    for low, high in itertools.pairwise(levels):
        tie = np.float32([(low + high) / 2])
        assert quant_pow2(tie, np.float32(1), bits=bits) == high
        assert quant_pow2(-tie, np.float32(1), bits=bits) == -high


def test_gradients_reach_weights_and_scale():
    for module in (QuantUniform(4, 3), QuantPow2(4, 3)):
        weight = torch.randn(3, 50, requires_grad=True)
        module.calibrate(weight)
        module.train()(weight).square().sum().backward()
        assert weight.grad.abs().sum() > 0
        assert (module.scale.grad.abs() > 0).all()


def test_a_scale_that_an_optimizer_made_negative_becomes_positive():
    module = QuantUniform(4, 2)
    module.scale.data[:] = torch.tensor([-0.5, 0.25])
    module(torch.randn(2, 8))
    assert (module.scale > 0).all()


def test_recipe_chooses_by_glob_in_order_and_counts_bits():
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 2))
    recipe = {"1": "2l", "*": "4u"}
    assert average_bits(model, recipe) == (32 * 4 + 16 * 2) / 48
    apply_recipe(model, recipe)
    kinds = [type(layer.parametrizations.weight[0]) for layer in model]
    assert kinds == [QuantUniform, QuantPow2]
    assert len(model[1].weight.detach().unique()) <= 3 * 2


@pytest.mark.parametrize(
    ("recipe", "message"),
    [({"0": "4u"}, "no quantizer for '1'"), ({"*": "4q"}, "unknown quantizer '4q'")],
)
def test_bad_recipes_are_refused(recipe, message):
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 2))
    with pytest.raises(UserError, match=message):
        apply_recipe(model, recipe)


def test_a_weight_that_is_computed_is_refused():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    prune.l1_unstructured(net[0], "weight", 0.5)
    with pytest.raises(UserError, match="layer '0': its weight is no parameter"):
        apply_recipe(net, {"*": "4u"})
    prune.remove(net[0], "weight")
    apply_recipe(net, {"*": "4u"})
