"""The verdict: what rounding explains passes; every kind of wrong code that was once made fails.

Each mistake is put back into the rule that made it. Rounding alone never excuses it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
import torch

from hqc.compiler import Stages, lower, pipeline_for
from hqc.data.synthetic import frames_over_range
from hqc.dialect.facts import read_bound, write_bound
from hqc.errors import VerificationError
from hqc.frontend.load import load_model
from hqc.passes.integer_rules import arithmetic, linear, neurons, sums
from hqc.targets import load_target
from hqc.verdict import Verdict, _ConvTranspose
from hqc.verification import compare
from tests.conftest import MODEL
from tests.test_right_or_refused import (
    BIAS,
    Network,
    batch_norm,
    one_layer,
    stages_of,
    unsigned,
    weights,
)


def verdict_of(stages: Stages) -> dict[str, str]:
    return compare(stages, frames_over_range(stages.dialect), {}, "").unexplained


def test_rounding_explains_what_is_right(tmp_path):
    assert verdict_of(stages_of(one_layer(bias=lambda net: net.quantized(BIAS)), tmp_path)) == {}


def test_a_bias_that_is_dropped_is_found(tmp_path, monkeypatch):
    true = sums.layer_sum

    def without(node, x, codes, bias, *others, **options):
        return true(node, x, codes, None, *others, **options)

    monkeypatch.setattr(sums, "layer_sum", without)
    found = verdict_of(stages_of(one_layer(bias=lambda net: net.quantized(BIAS)), tmp_path))
    assert set(found) == {"lif"}
    assert "not explained by rounding" in found["lif"]


@pytest.mark.parametrize("bits", [8, 16])
def test_codes_that_wrap_are_found(bits, tmp_path, monkeypatch):
    true, narrow = sums.store_codes, {8: np.int8, 16: np.int16}[bits]

    def wrapping(node, lowering, codes):
        small = codes.codes.astype(np.int64).astype(narrow).astype(np.float64)
        return true(node, lowering, replace(codes, codes=small))

    monkeypatch.setattr(sums, "store_codes", wrapping)
    with pytest.raises(VerificationError, match=r"'conv'.*can be .* and says"):
        stages_of(one_layer(lambda net: unsigned(net, bits), threshold=4.0), tmp_path)
    monkeypatch.setattr("hqc.passes.pipeline.verify_ops", lambda step, model: None)
    stages = stages_of(one_layer(lambda net: unsigned(net, bits), threshold=4.0), tmp_path)
    assert set(verdict_of(stages)) == {"lif"}


def test_potentials_that_are_held_below_128_are_found(tmp_path, monkeypatch):
    """As those of branches once were, whatever their thresholds."""
    true = neurons._candidate

    def held(node, x, lowering):
        if x.kind == "potentials":
            multiplier = x.value.producer().inputs[1]
            low = multiplier.const_value.numpy() * (128 / x.float_reach.max())
            multiplier.const_value = ir.tensor(low.astype(np.int32))
        return true(node, x, lowering)

    monkeypatch.setattr(neurons, "_candidate", held)
    net = Network((4, 1, 2, 6, 5))
    codes = net.quantized(weights(8, 2, 3, 3), bits=12)
    y = net.op("Conv", net.input(), codes, pads=[1] * 4, kernel_shape=[3, 3])
    net.head(net.mean(net.lif(y, v_threshold=300.0, name="lif"), [0, 2, 3]), 8)
    assert set(verdict_of(stages_of(net, tmp_path))) == {"lif"}


def test_a_variance_below_zero_is_found(tmp_path, monkeypatch):
    def without_looking(node):
        gamma, beta, mean, variance = (v.const_value.numpy() for v in node.inputs[1:5])
        with np.errstate(invalid="ignore"):
            scale = np.nan_to_num(gamma / np.sqrt(variance + 1e-5), nan=1.0)
        return scale, beta - mean * scale

    monkeypatch.setattr(arithmetic, "batch_norm", without_looking)
    norm = batch_norm(np.ones(8), np.r_[-1.0, np.ones(7)])
    assert "lif" in verdict_of(stages_of(one_layer(norm=norm), tmp_path))


def test_a_heads_bias_rounded_to_units_of_the_sum_is_found(tmp_path, monkeypatch):
    true = linear._classifier

    def coarse(node, lowering, x, codes, made):
        units = np.round(made.offset / made.scale) * made.scale
        return true(node, lowering, x, codes, replace(made, offset=units))

    monkeypatch.setattr(linear, "_classifier", coarse)
    net = Network((1, 1, 2, 1, 1))
    codes = net.quantized(weights(8, 2, 1, 1))
    s = net.lif(net.op("Conv", net.input(), codes, kernel_shape=[1, 1]), v_threshold=0.5)
    net.head(net.mean(s, [0, 2, 3]), 8, [0.1, -0.2, 0.3, 0.05], bits=2, scale=0.5)
    assert set(verdict_of(stages_of(net, tmp_path))) == {"head"}


@pytest.fixture(scope="module")
def demo():
    return lower(load_model(MODEL), pipeline_for(load_target("host")))


def test_one_threshold_off_by_a_thousandth_is_found(demo, recordings):
    integer = demo.integer.clone()
    threshold = integer.graph.initializers["blocks.0.mlp.0.lif.threshold"]
    threshold.const_value = ir.tensor((threshold.const_value.numpy() * 0.999).astype(np.int32))
    found = compare(replace(demo, integer=integer), recordings[::10], {}, "")
    assert set(found.unexplained) == {"blocks.0.mlp.0.lif"}
    assert not found.ok


def test_the_bound_is_not_generous(demo, recordings):
    """Without it, spikes and logits of real recordings differ."""
    integer = demo.integer.clone()
    for node in integer.graph:
        bound = read_bound(node.outputs[0])
        if bound is not None:
            write_bound(node.outputs[0], np.zeros(1), None)
    verdict = Verdict(demo.dialect, integer)
    assert verdict.layers[0] == "tokenizer.0.lif"
    assert compare(replace(demo, integer=integer), recordings[::10], {}, "").unexplained


def test_a_layer_that_rounding_decides_is_named(tmp_path):
    stages = stages_of(one_layer(threshold=4.0), tmp_path)
    spikes = next(n.outputs[0] for n in stages.integer.graph if n.name == "lif")
    for bound, named in ((0.4, {}), (0.6, {"lif": pytest.approx(0.15, rel=0.01)})):
        write_bound(spikes, np.full(1, bound), None)
        found = compare(stages, frames_over_range(stages.dialect)[:1], {}, "")
        assert found.unexplained == {}
        assert found.coarse == named


@pytest.mark.parametrize(
    ("group", "given"),
    [
        (1, {"strides": [2, 3], "pads": [1, 0, 1, 0]}),
        (2, {"strides": [3, 2], "output_padding": [2, 1]}),
    ],
)
def test_transposed_convolutions_in_float64_are_torch_s(group, given):
    rng = np.random.default_rng(0)
    x, weights, bias = (rng.normal(size=s) for s in ((2, 4, 3, 5), (4, 3, 3, 2), (3 * group,)))
    (found,) = _ConvTranspose._run(None, x, weights, bias, group=group, **given)
    expected = torch.nn.functional.conv_transpose2d(
        *map(torch.from_numpy, (x, weights, bias)),
        stride=given["strides"],
        padding=given.get("pads", [0, 0])[:2],
        output_padding=given.get("output_padding", 0),
        groups=group,
    )
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-12)
