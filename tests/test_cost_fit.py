"""hqc targets fit: costs of kernels' parts from what kernels take."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

from hqc.compiler import lower, pipeline_for
from hqc.cost_fit import Sample, fit, fit_costs, least_squares, loss
from hqc.cost_layers import ALL, Layer, Layers, network, recording
from hqc.errors import ToolError
from hqc.firing_rates import annotate_firing_rates
from hqc.frontend.load import load_model
from hqc.frontend.save import save_model
from hqc.passes.spike_kernels import SPIKE_LAYERS
from hqc.targets import load_target
from hqc.targets.costs import PARTS, Costs

FEW = Layers(64, 3, 2, [Layer(64, 1, 2), Layer(64, 3, 4)])


def test_least_squares_are_those_that_enumerating_zeros_finds(rng):
    """Of two unknowns there are four ways to be at least 0."""
    for _ in range(50):
        matrix, wanted = rng.normal(size=(6, 2)), rng.normal(size=6)
        tried = [np.zeros(2)]
        for free in ([0], [1], [0, 1]):
            x = np.zeros(2)
            x[free] = np.linalg.lstsq(matrix[:, free], wanted)[0]
            tried += [x] if (x >= 0).all() else []
        best = min(tried, key=lambda x: np.linalg.norm(matrix @ x - wanted))
        np.testing.assert_allclose(least_squares(matrix, wanted), best, atol=1e-6)


def test_costs_that_figures_were_made_of_are_found_again(rng):
    true = {"spike": 7.0, "event4": 0.5, "unpack": 20.0, "plane": 3.0}
    samples = []
    for i in range(40):
        kernel = ("event", "planes")[i % 2]
        names = ["spike", "event4", "unpack"] if kernel == "event" else ["plane"]
        parts = {name: float(rng.integers(1, 1000)) for name in names}
        parts["position"] = float(rng.integers(1, 100))
        figure = sum(true.get(name, 11.0) * amount for name, amount in parts.items())
        samples.append(Sample(str(i // 2), 0.1, kernel, parts, figure))
    found, error = fit(samples)
    assert found == pytest.approx(true, rel=2e-3)
    assert error < 1e-4
    assert loss(samples, Costs(**found)) == 0
    assert loss(samples, Costs(**{**found, "plane": 0})) > 0


def test_layers_fire_as_the_recording_says(tmp_path):
    save_model(network(FEW), tmp_path / "layers.onnx")
    model = load_model(tmp_path / "layers.onnx")
    kernels = lower(model, pipeline_for(load_target("host"))).kernels
    frames = recording(FEW, 0.3)
    annotate_firing_rates(kernels, [frames])
    nodes = [n for n in kernels.graph if n.op_type in SPIKE_LAYERS]
    assert [n.name for n in nodes] == ["layer.0", "layer.1"]
    for node in nodes:
        assert float(node.inputs[0].metadata_props["hqc.rate"]) == pytest.approx(
            frames.mean(), abs=1e-5
        )


def test_layers_have_every_field_and_lie_within_the_first_cache_and_beyond():
    layers = [(each.channels, layer) for each in ALL for layer in each.layers]
    assert {(layer.bits, layer.uniform) for _, layer in layers} >= {
        (2, True),
        (4, False),
        (8, True),
    }
    sizes = [channels * layer.outputs * layer.window**2 for channels, layer in layers]
    assert min(sizes) < 32 << 10 < max(sizes)


def test_what_is_printed_is_a_statement_of_a_target_file(tmp_path):
    found = fit_costs("arm-a72", networks=[FEW], rates=[0.05, 0.3])
    assert (found.target, found.machine, found.unit) == ("arm-a72", None, "cycles")
    assert found.samples == 2 * 2 * 3
    assert found.error < 0.5
    file = tmp_path / "mine.hqt"
    file.write_text(f"target mine extends arm-a72 {{\n  {found.statement()}\n}}\n")
    costs = load_target(str(file)).costs
    assert {part: getattr(costs, part) for part in found.costs} == found.costs
    unsaid = set(PARTS) - set(found.costs)
    assert all(getattr(costs, part) == getattr(Costs(), part) for part in unsaid)
    assert "fields8" in unsaid


def test_this_machine_is_timed_and_named(tmp_path):
    found = fit_costs("host", networks=[FEW], rates=[0.1])
    assert found.unit == "nanoseconds"
    assert found.machine
    assert f'from "hqc targets fit host on {found.machine}: nanoseconds, ' in found.statement()
    assert all(cost >= 0 for cost in found.costs.values())


def test_targets_that_do_not_run_here_are_refused(bare_target):
    with pytest.raises(ToolError, match="says no 'emulate'"):
        fit_costs(bare_target)


def test_the_command_says_what_it_measured(run_hqc, monkeypatch):
    quick = partial(fit_costs, networks=[FEW], rates=[0.1])
    monkeypatch.setattr("hqc.cost_fit.fit_costs", quick)
    done = run_hqc("targets", "fit", "rv32imc")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("  costs ")
    assert 'from "hqc targets fit rv32imc: instructions, mean error' in done.stdout
    found = json.loads(run_hqc("targets", "fit", "rv32imc", "--json").stdout)
    assert found["target"] == "rv32imc"
