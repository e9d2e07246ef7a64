"""Energy profiles: published ratios, sources, and that their equations are what they say."""

from __future__ import annotations

import pytest

from hqc.energy import LayerCounts, Precision, estimate
from hqc.energy.counts import FP32
from hqc.targets import load_profile, profile_names
from hqc.targets.energy import QUANTITIES

SIZES = {"tokenizer.0": 40_000, "blocks.0.attention.q": 67_000, "blocks.0.mlp.0": 293_000}


def network():
    return [
        LayerCounts(
            name,
            "linear",
            weights=weights,
            fan_in=256,
            levels=1,
            inputs=4096.0,
            spikes=600.0,
            synapses=weights * 64.0,
            operations=weights * 9.6,
            neurons=1000,
            updates=4000.0,
        )
        for name, weights in SIZES.items()
    ]


def mixed(bits):
    """2-bit and 4-bit layers, and one in between, that average to `bits` over all weights."""
    weights = list(SIZES.values())
    rest = (bits * sum(weights) - 2 * weights[0] - 4 * weights[1]) / weights[2]
    widths = (2, 4, rest)
    return {name: Precision(b, "uniform") for name, b in zip(SIZES, widths, strict=True)}


@pytest.mark.parametrize(("bits", "storage", "energy"), [(3.67, 8.72, 8.72), (3.14, 10.19, 10.2)])
def test_spikehq_gives_the_published_ratios(bits, storage, energy):
    found = estimate(network(), mixed(bits), load_profile("spikehq"), 16).as_dict()
    assert found["average_bits"] == pytest.approx(bits)
    assert found["storage_ratio"] == pytest.approx(storage, abs=0.005)
    assert found["energy_ratio"] == pytest.approx(energy, rel=0.03)


def test_qsvit_is_memory_and_power_relative_to_fp32():
    profile = load_profile("qsvit")
    precisions = dict.fromkeys(SIZES, Precision(8, "uniform"))
    found = estimate(network(), precisions, profile, 4).as_dict()
    assert found["storage_ratio"] == found["energy_ratio"] == 4
    said = " ".join(profile.open)
    for figure in ("319.66", "251.48", "21.33 %", "22.75 %"):
        assert figure in said


def test_the_usual_estimate_is_0_9_and_4_6_pj():
    profile = load_profile("snn-45nm")
    layers = network()
    layers[0].levels = 0
    found = estimate(layers, dict.fromkeys(SIZES, FP32), profile, 4)
    assert found.layers[0].energy.total == pytest.approx(4.6 * layers[0].operations)
    assert found.layers[1].energy.total == pytest.approx(0.9 * layers[1].operations)


def test_horowitz_by_hand():
    layer = network()[1]
    quantities = layer.quantities(Precision(4, "uniform"), 4)
    found = load_profile("horowitz-45nm").evaluate(quantities)
    accumulator = 4 + 8  # log2(256)
    add = 0.03 + 0.07 * (accumulator - 8) / 24
    operations = layer.operations
    weight_bytes = 67_000 / 2  # more than 32 KiB
    assert weight_bytes > 32 * 1024
    assert found.terms["compute"] == pytest.approx(operations * add)
    assert found.terms["weight_reads"] == pytest.approx(operations * 4 * 100 / 64)
    assert found.terms["input_reads"] == pytest.approx(4096 * 10 / 64)
    assert found.terms["membranes"] == pytest.approx(2 * 4000 * (0.1 + 32 * 10 / 64))
    assert found.total == pytest.approx(sum(found.terms.values()))
    assert found.storage == 67_000 * 4


def test_a_power_of_two_needs_no_multiplication_in_horowitz():
    layer = network()[0]
    layer.levels = 0
    profile = load_profile("horowitz-45nm")
    uniform, pow2 = (
        profile.evaluate(layer.quantities(Precision(4, scheme), 4)).terms["compute"]
        for scheme in ("uniform", "pow2")
    )
    frames, fan_in = 8, 8  # bits of a sum of 256 frames' bytes, beside the code's
    add = 0.03 + 0.07 * (8 + frames + fan_in - 8) / 24  # a code of 8 bits
    assert pow2 == pytest.approx(layer.operations * add)
    multiply = 3.1 * 4 * 8 / 1024
    assert uniform == pytest.approx(
        layer.operations * (multiply + 0.03 + 0.07 * (4 + frames + fan_in - 8) / 24)
    )


@pytest.mark.parametrize("name", profile_names())
def test_every_constant_has_its_source_beside_it(name):
    profile = load_profile(name)
    assert profile.about
    assert profile.source
    for equation in profile.equations.values():
        numbers = list(equation.body.find_data("number"))
        names = list(equation.body.find_data("name"))
        if equation.parameters is None and numbers and not names:
            assert equation.constants_from, f"{name}: {equation.name} has no source"


def test_every_quantity_is_given_by_the_counts():
    assert set(network()[0].quantities(FP32, 4)) == set(QUANTITIES)
