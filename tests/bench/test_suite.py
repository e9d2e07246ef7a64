from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch

import hqc
from hqc.bench.suite import Case, find_suite, fitted, run, saved, speed
from hqc.bench.suite.growth import Growth, described
from hqc.bench.suite.measure import arena_bound, measure, weights_over_ideal
from hqc.bench.suite.trained import SPIKFORMER, UNTRAINED, kind_of, read_trained
from hqc.errors import UserError
from hqc.models.spikformer import Spikformer
from hqc.quantize.recipe import quantizable_layers
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def trained():
    return read_trained(EXAMPLES / "cifar10", recordings=4)


@pytest.fixture(scope="module")
def small(trained):
    """A small network that fires like the trained one, and its frames."""
    torch.manual_seed(0)
    network = Spikformer(3, dim=48, depth=2, heads=3)
    frames = fitted.images(EXAMPLES / "cifar10" / "sample", (2, 1, 3, 32, 32), 255)
    return fitted.fit(network, frames, fitted.Like(trained, SPIKFORMER)), frames


def test_a_trained_network_shows_its_choices_and_rates(trained):
    recipe = json.loads((EXAMPLES / "cifar10" / "recipe.json").read_text())
    assert sorted(c for choices in trained.choices.values() for c in choices) == sorted(
        recipe.values()
    )
    assert trained.choices["q"] == [recipe[f"blocks.{n}.attention.q.linear"] for n in range(4)]
    assert len(trained.rates["stream"]) == 8
    assert all(0 < rate < 1 for rates in trained.rates.values() for rate in rates)


def rates_of(network, frames):
    """The firing rate of every layer of neurons."""
    rates = {}
    hooks = [
        layer.register_forward_hook(
            lambda _layer, _x, spikes, name=name: rates.update({name: float(spikes.mean())})
        )
        for name, layer in fitted.neurons_of(network).items()
    ]
    with torch.no_grad():
        network(frames)
    for hook in hooks:
        hook.remove()
    return rates


def test_a_fitted_network_fires_like_the_trained_one(small, trained):
    network, frames = small
    rates = rates_of(network, frames)
    wanted = fitted.Like(trained, SPIKFORMER).rates(fitted.neurons_of(network))
    assert list(rates) == list(wanted)
    # A small layer has few potentials; products of spikes have few values to put a threshold at.
    apart = [abs(rates[name] - wanted[name]) for name in wanted]
    assert np.median(apart) < 0.002
    assert max(apart) < 0.03
    assert min(rates.values()) > 0


def test_an_untrained_network_fires_as_often_as_said(small):
    torch.manual_seed(0)
    like = fitted.Like(UNTRAINED, SPIKFORMER)
    network = fitted.fit(Spikformer(3, dim=48, depth=4, heads=3), small[1], like)
    rates = rates_of(network, small[1])
    for block, wanted in enumerate([0.12, 0.24, 0.36, 0.48]):
        for layer in ("attention.q", "attention.proj", "mlp.1"):
            assert rates[f"blocks.{block}.{layer}.lif"] == pytest.approx(wanted, abs=0.05)
    # A threshold at 0 would be one that no integers are fine enough for.
    assert min(layer.v_threshold for layer in fitted.neurons_of(network).values()) > 0.01


def test_layers_take_a_trained_networks_quantizers_in_turn(trained):
    network = speed.spike_driven()
    recipe = fitted.Like(trained, speed.SPIKE_DRIVEN).recipe(quantizable_layers(network))
    assert recipe["tokenizer.spiking.0.conv"] == recipe["head.linear"] == "8u"
    for block in range(8):
        assert recipe[f"blocks.{block}.attention.k.conv"] == trained.choices["k"][block % 4]


@pytest.mark.parametrize(
    ("make", "kinds"),
    [
        (speed.spikformer, SPIKFORMER),
        (speed.spike_driven, speed.SPIKE_DRIVEN),
        (speed.meta_spikeformer, speed.META_SPIKEFORMER),
        (speed.sew_resnet, speed.SEW_RESNET),
    ],
)
def test_every_layer_of_the_suite_has_a_kind_that_the_trained_network_has(make, kinds, trained):
    network = make()
    layers, neurons = quantizable_layers(network), fitted.neurons_of(network)
    assert {kind_of(name, kinds) for name in layers} <= trained.choices.keys()
    assert {kind_of(name, kinds) for name in neurons} <= trained.rates.keys()


def test_a_model_is_measured(small, tmp_path):
    case = Case("small", "a small network", lambda folder: fitted.write(*small, folder, "small"))
    model = case.make(tmp_path / "case")
    found = measure(case, model, tmp_path / "build", {}, rounds=1)
    artifact = hqc.Artifact.open(tmp_path / "build")
    assert found.recordings == 4
    assert found.parameters == artifact.manifest["weights"]
    assert 0 < found.floor_ms < found.hqc_ms
    assert found.floor_ms == pytest.approx(sum(k.floor_ms or 0 for k in found.kernels))
    assert list(found.rates) == list(fitted.neurons_of(small[0]))
    assert found.arena_over_bound == found.arena_bytes / arena_bound(artifact) >= 1
    assert found.weights_over_ideal >= 1
    memory = artifact.manifest["memory"]
    for key in ("code_bytes", "weight_bytes", "arena_bytes"):
        assert getattr(found, key) == memory[key] > 0
    line = Growth("tokens", "depth 4", [1, 2, 3], [1.0, 2.0, 3.0], 0.0, 1.0, 0.0)
    _, row, last = run.shown([found], [line]).splitlines()
    assert last == described(line)
    assert {f"{memory['code_bytes']:,}", f"{memory['arena_bytes']:,}"} <= set(row.split())


def test_gaps_between_codes_are_seen():
    layers = [{"weights": 100, "bits": 2}, {"weights": 10, "bits": 4}]
    assert weights_over_ideal({"layers": layers, "memory": {"weight_bytes": 60}}) == 2


@pytest.fixture(scope="module")
def said(small):
    """What a suite of one small network found."""
    case = Case("small", "a small network", lambda folder: fitted.write(*small, folder, "small"))
    found = run.run_suite([case], {}, rounds=1)
    assert "small" in run.shown(found).splitlines()[1]
    said = run.as_dict("few", found, rounds=1)
    assert said["machine"]["cores"] >= 1
    return json.loads(json.dumps(said))


def test_results_are_saved(said, tmp_path):
    file = saved.save(said, tmp_path / "kept")
    assert file.parent == tmp_path / "kept"
    assert json.loads(file.read_text()) == said
    with pytest.raises(UserError, match="exists"):
        saved.save(said, file)


def test_two_results_are_compared(said, tmp_path, run_hqc):
    other = copy.deepcopy(said)
    (model,) = other["models"]
    model["hqc_ms"] *= 2
    model["code_bytes"] *= 3
    model["model_sha256"] = "another"
    slower = model["kernels"][3]
    slower["milliseconds"] += 1000
    other["machine"]["packages"]["onnxruntime"] = "2"
    saved.save(said, tmp_path / "a.json")
    saved.save(other, tmp_path / "b.json")
    found = saved.compare(tmp_path / "a.json", tmp_path / "b.json")
    assert list(found.differs) == ["onnxruntime", "small model_sha256"]
    before, after = found.figures["small hqc_ms"]
    assert after == 2 * before
    before, after = found.figures["small code_bytes"]
    assert after == 3 * before
    assert next(iter(found.kernels)) == f"small {slower['name']}"
    done = run_hqc("bench", "--compare", tmp_path / "a.json", tmp_path / "b.json")
    assert done.returncode == 0, done.stderr
    assert "2.00  small hqc_ms" in done.stdout


def test_older_results_without_bytes_of_code_are_compared(said, tmp_path):
    older = copy.deepcopy(said)
    del older["models"][0]["code_bytes"]
    saved.save(older, tmp_path / "a.json")
    saved.save(said, tmp_path / "b.json")
    found = saved.compare(tmp_path / "a.json", tmp_path / "b.json")
    assert "small weight_bytes" in found.figures
    assert "small code_bytes" not in found.figures


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"suite": "speed"}', '{"suite": 1, "models": 2}', "["]
)
def test_other_files_hold_no_suite(text, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match="holds no result of a suite"):
        saved.compare(tmp_path / "a.json", tmp_path / "a.json")


def test_unknown_suites_and_models_are_named():
    with pytest.raises(UserError, match="no suite 'sped'; did you mean 'speed'"):
        find_suite("sped")
    with pytest.raises(UserError, match="no model of the suite speed 'cifar'; did you mean"):
        find_suite("speed").chosen(["cifar"])


def test_examples_are_wanted_where_there_are_none(monkeypatch, tmp_path):
    monkeypatch.setattr(hqc, "__file__", str(tmp_path / "hqc" / "__init__.py"))
    with pytest.raises(UserError, match="not installed with hqc"):
        speed.example("nmnist")(tmp_path)
