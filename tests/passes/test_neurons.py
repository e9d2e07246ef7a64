"""From LIF to thresholds: formats, bounds, signs, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from hqc.dialect.fixed_point_lif import fixed_point_lif
from hqc.dialect.lif import lif
from hqc.errors import UnsupportedModelError
from hqc.frontend.load import load_model
from hqc.passes import parse_pipeline, run_passes
from hqc.passes.integer_rules.neurons import choose_format, leak
from hqc.reference import run_reference

INTEGER = "fold-batch-norm,infer-ranges,make-integer"

TEXT = """
<ir_version: 10, opset_import: ["" : 21, "ai.hqc" : 1]>
g (float[{T},1,3,1,2] frames) => (float[1,2] logits)
<
  float unit = {{1.0}},
  float[4,3,1,1] w = {{{weights}}},
  float[4] w_scale = {{0.5, 0.5, 0.25, 0.25}},
  float[4] gamma = {{{gamma}}}, float[4] beta = {{{beta}}},
  float[4] mean = {{0, 0.5, 0, 0}}, float[4] variance = {{1, 1, 4, 1}},
  int64[4] image = {{{T}, 3, 1, 2}}, int64[5] steps = {{{T}, 1, 4, 1, 2}},
  int64[3] all = {{0, 3, 4}},
  float[4,2] head_w = {{0.5, -0.5, 0.25, 0.75, 1.0, 0.5, -0.25, 0.5}},
  float[2] head_scale = {{0.25, 0.25}}
>
{{
  x = ai.hqc.QuantUniform <bits = 4, signed = 0> (frames, unit)
  x_image = Reshape(x, image)
  codes = ai.hqc.QuantUniform <bits = {bits}> (w, w_scale)
  y = Conv(x_image, codes)
  n = BatchNormalization <epsilon = 0.0> (y, gamma, beta, mean, variance)
  n_steps = Reshape(n, steps)
  s = ai.hqc.LIF <{neurons}> (n_steps)
  rate = ReduceSum <keepdims = 0> (s, all)
  head = ai.hqc.QuantUniform <bits = 8, axis = 1> (head_w, head_scale)
  logits = MatMul(rate, head)
}}
"""


USUAL = {
    "neurons": "tau = 2.0",
    "gamma": "1, -1.5, 0.5, 0",
    "beta": "0.1, 0, 0.3, 1.5",
    "T": 6,
    "bits": 4,
    "weights": "1, -0.5, 2, 0.5, 1.5, -1, 0.25, 0.75, -0.5, 1, 1, 1",
}


def build(tmp_path, **changes):
    text = TEXT.format(**USUAL | changes)
    path = tmp_path / "g.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    return load_model(path)


@pytest.mark.parametrize("mode", ["auto", "exact", "guarded"])
@pytest.mark.parametrize(
    "neurons",
    [
        "tau = 2.0",
        "tau = 2.0, soft_reset = 1",
        "tau = 2.0, decay_input = 0, v_reset = -0.25",
        "tau = 4.0",
        "tau = 3.0, soft_reset = 1",
        "tau = 1.0",
    ],
)
def test_integers_fire_as_floats_do(neurons, mode, tmp_path, rng):
    """Negative, zero and positive BatchNorm scales; ties are rare enough in these frames."""
    floats = build(tmp_path, neurons=neurons)
    integers = run_passes(
        build(tmp_path, neurons=neurons), parse_pipeline(f"{INTEGER}{{mode={mode}}}")
    )
    differing = total = 0
    for _ in range(20):
        frames = rng.integers(0, 16, (6, 1, 3, 1, 2)).astype(np.float32)
        ours = run_reference(integers, {"frames": frames}, ["s:out"])[1]
        theirs = run_reference(floats, {"frames": frames}, ["s"])[1]
        differing += (ours != theirs).sum()
        total += theirs.sum()
    assert total > 100
    assert differing <= 2


@pytest.mark.parametrize("head", ["axis = 1", "axis = -1", "axis = 0"])
def test_scales_per_output_or_per_tensor_are_taken(head, tmp_path):
    """The classifier's weights are [inputs, outputs]: outputs are its axis 1."""
    scale = "0.25, 0.25" if head != "axis = 0" else "0.25"
    text = TEXT.replace("bits = 8, axis = 1", f"bits = 8, {head}")
    text = text.replace(
        "float[2] head_scale = {{0.25, 0.25}}",
        f"float[{scale.count(',') + 1}] head_scale = {{{{{scale}}}}}",
    )
    path = tmp_path / "g.onnx"
    onnx.save(onnx.parser.parse_model(text.format(**USUAL)), path)
    model = run_passes(load_model(path), parse_pipeline(INTEGER))
    assert model.graph[-1].op_type == "IntegerLinear"


def test_a_scale_along_the_inputs_is_refused(tmp_path):
    text = TEXT.replace("bits = 8, axis = 1", "bits = 8, axis = 0")
    text = text.replace(
        "float[2] head_scale = {{0.25, 0.25}}", "float[4] head_scale = {{1, 1, 1, 1}}"
    )
    path = tmp_path / "g.onnx"
    onnx.save(onnx.parser.parse_model(text.format(**USUAL)), path)
    with pytest.raises(UnsupportedModelError, match="not quantized per output channel"):
        run_passes(load_model(path), parse_pipeline(INTEGER))


SHARED = (
    "  n2 = BatchNormalization <epsilon = 0.0> (y, {gamma2}, beta, mean, variance)\n"
    "  n2_steps = Reshape(n2, steps)\n  s2 = ai.hqc.LIF <{{neurons}}> (n2_steps)\n"
    "  both = Add(s, s2)\n  rate = ReduceSum <keepdims = 0> (both, all)"
)


@pytest.mark.parametrize("gamma2", ["gamma", "variance"])
def test_two_layers_of_neurons_may_read_one_convolution(gamma2, tmp_path, rng):
    """Codes are negated once for both; where the two want other signs, one reads potentials."""
    path = tmp_path / "g.onnx"
    text = TEXT.replace("  rate = ReduceSum <keepdims = 0> (s, all)", SHARED.format(gamma2=gamma2))
    gamma = "1, -1.5, 0.5, 0.75"
    onnx.save(onnx.parser.parse_model(text.format(**USUAL | {"gamma": gamma})), path)
    integers = run_passes(load_model(path), parse_pipeline(INTEGER))
    kinds = [node.op_type for node in integers.graph]
    assert kinds.count("Rescale") == (gamma2 == "variance")
    frames = rng.integers(0, 16, (6, 1, 3, 1, 2)).astype(np.float32)
    found = run_reference(integers, {"frames": frames}, ["s:out", "s2:out"])[1:]
    expected = run_reference(load_model(path), {"frames": frames}, ["s", "s2"])[1:]
    for a, b in zip(found, expected, strict=True):
        assert 0 < b.mean() < 1
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("steps", "unit_bits"), [(6, 18), (140, 17)])
def test_potentials_are_as_fine_as_their_sums_allow(steps, unit_bits, tmp_path, rng):
    """IF neurons on a membrane shortcut: over many steps they take in more than 32 bits hold."""
    added = "sum = Add(n_steps, n_steps)\n  s = ai.hqc.LIF <{neurons}> (sum)"
    text = TEXT.replace("s = ai.hqc.LIF <{neurons}> (n_steps)", added)
    neurons = "tau = 1e30, decay_input = 0, v_threshold = 50.0"
    path = tmp_path / "g.onnx"
    onnx.save(
        onnx.parser.parse_model(text.format(**USUAL | {"T": steps, "neurons": neurons})), path
    )
    integers = run_passes(load_model(path), parse_pipeline(INTEGER))
    frames = rng.integers(0, 16, (steps, 1, 3, 1, 2)).astype(np.float32)
    rescale = next(node for node in integers.graph if node.op_type == "Rescale")
    watched = [rescale.outputs[0].name, "s:out"]
    potentials, spikes = run_reference(integers, {"frames": frames}, watched)[1:]
    floats, expected = run_reference(load_model(path), {"frames": frames}, ["n_steps", "s"])[1:]
    np.testing.assert_allclose(potentials * 2.0**-unit_bits, floats, atol=2.0**-unit_bits)
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(spikes, expected)


def test_sums_silenced_for_other_neurons_are_refused(tmp_path):
    path = tmp_path / "g.onnx"
    text = TEXT.replace(
        "  rate = ReduceSum <keepdims = 0> (s, all)", SHARED.format(gamma2="variance")
    )
    onnx.save(onnx.parser.parse_model(text.format(**USUAL)), path)
    with pytest.raises(UnsupportedModelError, match="for which a channel has scale 0"):
        run_passes(load_model(path), parse_pipeline(INTEGER))


@pytest.mark.parametrize(("beta", "reset"), [(-4000, -24000), (4000, 24000)])
def test_potentials_on_top_of_a_reset_stay_in_32_bits(beta, reset, tmp_path):
    """IF neurons, reset to where a whole sequence could have brought them, then the same again."""
    neurons = f"tau = 1e30, decay_input = 0, v_threshold = 1e6, v_reset = {reset}"
    model = build(tmp_path, neurons=neurons, beta=", ".join([str(beta)] * 4))
    integers = run_passes(model, parse_pipeline(INTEGER))
    lif = next(n for n in integers.graph if n.op_type == "FixedPointLIF")
    assert (lif.attributes["leak_multiplier"].value, lif.attributes["leak_shift"].value) == (1, 0)
    bias, _, back = (v.const_value.numpy().reshape(-1).tolist() for v in lif.inputs[1:])
    assert all(abs(r + 6 * b) < 2**31 for r, b in zip(back, bias, strict=True))


def test_ranges_must_be_inferred_first(tmp_path):
    with pytest.raises(UnsupportedModelError, match="range of its output is not known") as error:
        run_passes(build(tmp_path), parse_pipeline("fold-batch-norm,make-integer"))
    assert "infer-ranges" in error.value.hint


def test_a_channel_without_scale_is_constant(tmp_path):
    model = run_passes(build(tmp_path), parse_pipeline(INTEGER))
    codes = model.graph.initializers["y.codes"].const_value.numpy()
    assert (codes[3] == 0).all()
    assert (codes[1] == -np.array([1, 3, -2]).reshape(3, 1, 1)).all()


def test_a_code_without_a_negative_leads_to_potentials(tmp_path, rng):
    model = build(
        tmp_path, bits=8, weights="1, 1, 1, -64, 1, 1, 1, 1, 1, 1, 1, 1", beta="0, 0, 1, 1"
    )
    frames = rng.integers(0, 2, (6, 1, 3, 1, 2)).astype(np.float32)
    expected = run_reference(model, {"frames": frames}, ["s"])[1]
    integers = run_passes(model, parse_pipeline(INTEGER))
    assert integers.graph.initializers["y.codes"].const_value.numpy().min() == -128
    assert "Rescale" in [node.op_type for node in integers.graph]
    assert 0 < expected[:, :, 1].mean() < 1
    np.testing.assert_array_equal(
        run_reference(integers, {"frames": frames}, ["s:out"])[1], expected
    )


def test_a_potential_beyond_32_bits_is_refused_by_name(tmp_path):
    model = build(tmp_path, beta="1e12, 0, 0, 0")
    with pytest.raises(UnsupportedModelError, match=r"node 's' .*LIF\): its membrane potential"):
        run_passes(model, parse_pipeline(INTEGER))


def test_exact_potentials_over_many_steps_are_refused(tmp_path):
    model = build(tmp_path, T=40)
    with pytest.raises(UnsupportedModelError, match="over all time steps") as error:
        run_passes(model, parse_pipeline(f"{INTEGER}{{mode=exact}}"))
    assert "guarded" in error.value.hint


def test_formats_take_the_smaller_bound_that_fits():
    assert choose_format(100.0, 8, True, "auto").exact is False
    assert choose_format(1.0, 4, True, "auto").exact is True
    assert choose_format(100.0, 8, False, "exact").exact is False
    for bound in (1.0, 77.0, 5000.0, 1e6):
        for time_steps in (1, 4, 16):
            for mode in ("exact", "guarded"):
                chosen = choose_format(bound, time_steps, True, mode)
                if chosen is not None:
                    growth = time_steps - 1 if chosen.exact else 0
                    assert bound * 2.0 ** (chosen.frac_bits + growth) < 2**31


def test_leaks_are_exact_where_they_can_be():
    assert leak(0.5) == (1, 1)
    assert leak(0.75) == (3, 2)
    assert leak(1.0) == (1, 0)
    assert leak(0.0) == (0, 0)
    multiplier, shift = leak(2 / 3)
    assert abs(multiplier / 2**shift - 2 / 3) < 2**-15


def test_guarded_potentials_stay_within_their_bound(rng):
    """Against float64, only potentials within the stated error of the threshold may differ."""
    frac_bits, threshold = 8, 10.0
    acc = rng.integers(-20, 30, (8, 5000), dtype=np.int32)
    levels = [np.int32([v * 2**frac_bits]) for v in (0, threshold, 0)]
    for flags in ({"leak_shift": 1}, {"exact": 1}):
        ours = fixed_point_lif(acc, *levels, frac_bits=frac_bits, **flags)
        # decay_input halves the input too: twice the accumulator has the same potential.
        theirs = lif(2 * acc.astype(np.float32), v_threshold=threshold)
        if "exact" in flags:
            np.testing.assert_array_equal(ours, theirs)
        else:
            assert (ours != theirs).mean() < 2.5 * 2**-frac_bits
