"""From LIF to thresholds: formats, bounds, signs, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hqc.compiler import lower, pipeline_for
from hqc.data.recordings import Recording
from hqc.dialect import DIALECT
from hqc.dialect.fixed_point_lif import fixed_point_lif
from hqc.dialect.intervals import RangeError, neuron_interval
from hqc.dialect.lif import lif
from hqc.errors import UnsupportedModelError
from hqc.frontend.load import load_model
from hqc.passes import parse_pipeline, run_passes
from hqc.passes.integer_rules.neurons import Charge, Format, choose_format, hold, leak
from hqc.reference import run_reference
from hqc.targets import load_target
from hqc.verification import compare
from tests.networks import Network

INTEGER = "fold-batch-norm,make-integer"

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
    with pytest.raises(UnsupportedModelError, match="axis that is not its output channels"):
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


@pytest.mark.parametrize(("steps", "unit_bits"), [(6, 13), (140, 13)])
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


LEVELS = st.integers(-(2**20), 2**20)


@given(
    low=st.integers(-500, 0),
    high=st.integers(0, 500),
    bias=LEVELS,
    threshold=st.integers(1, 2**20),
    reset=LEVELS,
    frac_bits=st.integers(0, 8),
    keep=st.sampled_from([0.0, 0.5, 1 - 1 / 7, 1 - 1 / 20, 1 - 1 / 30, 1.0]),
    soft_reset=st.integers(0, 1),
    exact=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_potentials_stay_within_what_is_proven(
    low, high, bias, threshold, reset, frac_bits, keep, soft_reset, exact, seed
):
    """Random inputs, and those that push one way all the time, followed in unbounded integers."""
    multiplier, shift = (1, 0) if exact else leak(keep)
    neurons = {"frac_bits": frac_bits, "exact": int(exact), "leak_multiplier": multiplier}
    neurons |= {"leak_shift": shift, "soft_reset": soft_reset, "potential_bits": 32}
    steps = 6
    least, most, fires = neuron_interval(low, high, bias, threshold, reset, steps, neurons)
    assert max(-least.min(), most.max()) < 2**31
    inputs = np.random.default_rng(seed).integers(low, high + 1, (50, steps)).tolist()
    ends = {low, high}
    inputs += [[a] * n + [b] * (steps - n) for a in ends for b in ends for n in range(steps)]
    fired = False
    for sequence in inputs:
        u = 0
        for t, accumulator in enumerate(sequence):
            growth = 1 << t if exact else 1
            half = (1 << shift) >> 1
            kept = u if exact else (u * multiplier + half) >> shift
            u = kept + ((accumulator << frac_bits) + bias) * growth
            assert least[0] <= u <= most[0]
            if u >= threshold * growth:
                fired = True
                u = u - reset * growth if soft_reset else reset * growth
    assert fires[0] or not fired


@given(
    low=st.integers(-500, 0),
    high=st.integers(0, 500),
    threshold=st.integers(1, 2**12),
    reset=st.integers(-100, 100),
    frac_bits=st.integers(0, 8),
    keep=st.sampled_from([0.0, 0.5, 1 - 1 / 7, 1.0]),
    soft_reset=st.integers(0, 1),
    exact=st.booleans(),
)
def test_what_is_kept_between_steps_fits_16_bits_where_that_is_proven(
    low, high, threshold, reset, frac_bits, keep, soft_reset, exact
):
    """Inputs that push one way, then the other."""
    multiplier, shift = (1, 0) if exact else leak(keep)
    neurons = {"frac_bits": frac_bits, "exact": int(exact), "leak_multiplier": multiplier}
    neurons |= {"leak_shift": shift, "soft_reset": soft_reset, "potential_bits": 16}
    steps, fits = 6, True
    try:
        neuron_interval(low, high, 0, threshold, reset, steps, neurons)
    except RangeError:
        fits = False
    kept = []
    ends = (low, high)
    for sequence in [[a] * n + [b] * (steps - n) for a in ends for b in ends for n in range(steps)]:
        u = 0
        for t, accumulator in enumerate(sequence):
            growth = 1 << t if exact else 1
            leaked = u if exact else (u * multiplier + ((1 << shift) >> 1)) >> shift
            u = leaked + (accumulator << frac_bits) * growth
            if u >= threshold * growth:
                u = u - reset * growth if soft_reset else reset * growth
            kept.append(u)
    assert not fits or max(map(abs, kept)) < 2**15


def test_16_bits_are_taken_where_they_are_fine_enough():
    """As many fractional bits as the least potential leaves; with two more it does not fit."""
    charge = charge_of(high=150, keep=0.5, time_steps=4, threshold=100.0)
    held = choose_format(charge, "guarded", 16)
    assert held.attributes["potential_bits"] == 16
    assert 2**12 < held.threshold.max() < 2**15
    assert held.error.max() < choose_format(charge, "guarded").error.max() * 2**16
    with pytest.raises(RangeError, match="between steps"):
        hold(charge, Format(held.attributes["frac_bits"] + 2, False, 16))


@pytest.mark.parametrize("keep", [1 - 1 / 7, 1 - 1 / 20, 1 - 1 / 30])
def test_a_rounded_leak_never_passes_32_bits(keep):
    """Where the proof allows no more fractional bits, at the very edge of what 32 bits hold."""
    for high in (2**17 - 1, 2**20 - 3, 2**24 - 1):
        charge = charge_of(high=high, keep=keep, time_steps=16, threshold=1e9)
        held = choose_format(charge, "auto")
        accumulators = np.full((16, 1), high, np.int64)
        levels = [held.bias, held.threshold, held.reset]
        u, peak = 0, 0
        multiplier, shift = (held.attributes[n] for n in ("leak_multiplier", "leak_shift"))
        for acc in accumulators[:, 0].tolist():
            kept = (u * multiplier + ((1 << shift) >> 1)) >> shift
            u = kept + (acc << held.attributes["frac_bits"]) + int(held.bias[0])
            peak = max(peak, u)
        assert 2**28 < peak < 2**31
        spikes = fixed_point_lif(accumulators, *map(np.int64, levels), **held.attributes)
        assert not spikes.any()


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


def charge_of(high, keep=0.5, time_steps=4, threshold=1.0):
    """Neurons on accumulators up to `high`, of one channel."""
    zero, bias, levels = np.zeros(1), np.array([1 / 3]), np.array([threshold])
    return Charge(
        np.array([-high]), np.array([high]), bias, levels, zero, zero, keep, 0, time_steps
    )


def test_formats_take_the_smaller_bound_that_fits():
    assert choose_format(charge_of(100, time_steps=8), "auto").attributes["exact"] == 0
    assert choose_format(charge_of(1), "auto").attributes["exact"] == 1
    assert choose_format(charge_of(100, keep=0.75), "exact").attributes["exact"] == 0
    assert choose_format(charge_of(2**31), "auto") is None
    for high in (1, 77, 5000, 10**6):
        for time_steps in (1, 4, 16):
            for mode in ("exact", "guarded"):
                charge = charge_of(high, time_steps=time_steps)
                held = choose_format(charge, mode)
                if held is not None:
                    finer = Format(held.attributes["frac_bits"] + 1, mode == "exact")
                    if finer.frac_bits <= 20:
                        with pytest.raises(RangeError):
                            hold(charge, finer)


def test_leaks_are_exact_where_they_can_be():
    assert leak(0.5) == (1, 1)
    assert leak(0.75) == (3, 2)
    assert leak(1.0) == (1, 0)
    assert leak(0.0) == (0, 0)
    multiplier, shift = leak(2 / 3)
    assert abs(multiplier / 2**shift - 2 / 3) < 2**-30


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


@pytest.mark.parametrize("threshold", [1.0, np.nextafter(np.float32(1), np.float32(2))])
def test_counts_fire_where_they_do_in_float32(threshold, tmp_path):
    """Of scales 1 / k, k times the scale is 1, or a rounding away from it, above or below."""
    channels = 64
    net = Network((2, 1, 1, 9, 9))
    scales = net.constant(1 / np.arange(1, channels + 1))
    weights = net.view(scales, (channels, 1, 1, 1))
    codes = net.op("QuantUniform", weights, scales, domain=DIALECT, bits=4)
    x = net.op("Conv", net.input(), codes, name="conv")
    spikes = net.lif(x, tau=np.inf, v_threshold=float(threshold), decay_input=0)
    net.head(net.mean(spikes, [0, 2, 3]), channels)
    stages = lower(load_model(net.save(tmp_path / "net.onnx")), pipeline_for(load_target("host")))
    counts = np.arange(162, dtype=np.float32).reshape(2, 1, 1, 9, 9)
    found = compare(stages, [Recording("counts", counts)], {}, "host")
    assert found.ok
    assert found.spikes_differ == 0
