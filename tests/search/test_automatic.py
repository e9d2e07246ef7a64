"""Greedy, beam and uniform: that they keep what they promise, and stay as cheap as they say."""

from __future__ import annotations

import pytest
import torch

from hqc.quantize import apply_recipe
from hqc.search.method import Options, find_method
from hqc.search.post_training import TorchNetwork, Trial
from hqc.search.run_folder import RunFolder
from tests.search.places import network, places


@pytest.fixture(scope="module")
def task():
    return places()


@pytest.fixture(scope="module")
def trained(task, tmp_path_factory):
    """Weights of a network that was trained in float."""
    run = RunFolder(tmp_path_factory.mktemp("float") / "run", {})
    options = Options(float_epochs=25, batch=8)
    TorchNetwork(network(), task, options, run)
    return run.load("float")


def search(name, task, trained, folder, **options):
    run = RunFolder(folder, {})
    run.save("float", trained)
    model = network()
    result = find_method(name)(model, task, Options(keep={"head": "8u"}, **options), run)
    again = apply_recipe(network(), result["choices"])
    again.load_state_dict(run.load("train"))
    frames = task.test[0].float().transpose(0, 1)
    assert torch.equal(again.eval()(frames), model.eval()(frames))
    return result


@pytest.mark.parametrize("name", ["greedy", "beam"])
def test_fewer_bits_than_uniform_within_the_tolerance(name, task, trained, tmp_path):
    found = search(name, task, trained, tmp_path / name, tolerance=0.1, beam=2)
    assert found["choices"]["head"] == "8u"
    assert found["average_bits"] < 8
    model = network()
    model.load_state_dict(trained)
    search_again = TorchNetwork(model, task, Options(), _run_with(trained, tmp_path / "check"))
    assert search_again.drop(found["choices"]) <= 0.1


def _run_with(trained, folder):
    run = RunFolder(folder, {})
    run.save("float", trained)
    return run


def test_no_tolerance_for_any_loss_keeps_the_highest_precision(task, trained, tmp_path):
    for name in ("greedy", "beam"):
        found = search(name, task, trained, tmp_path / name, tolerance=-1.0)
        assert set(found["choices"].values()) == {"16u", "8u"}


def test_uniform_gives_every_layer_the_same_bits(task, trained, tmp_path):
    found = search("uniform", task, trained, tmp_path / "run", choices=("4u",))
    assert {c for n, c in found["choices"].items() if n != "head"} == {"4u"}


@pytest.fixture
def cluster():
    """Ray's processes live, and take time, until they are told to end."""
    import ray

    yield
    ray.shutdown()


@pytest.mark.parametrize("options", [{"workers": 2}, {"workers": 2, "ray": True}])
def test_workers_find_what_one_process_finds(options, cluster, task, trained, tmp_path):
    one = search("beam", task, trained, tmp_path / "one", tolerance=0.1, beam=2)
    many = search("beam", task, trained, tmp_path / "many", tolerance=0.1, beam=2, **options)
    assert many["choices"] == one["choices"]


def test_drift_grows_as_bits_shrink(task, trained):
    model = network()
    model.load_state_dict(trained)
    trial = Trial(model, task.train, task.train[0][:8].float().transpose(0, 1))
    drifts = [trial.drift(dict.fromkeys(trial.layers, c)) for c in ("16u", "8u", "4u")]
    assert 0 < drifts[0] < drifts[1] < drifts[2]
    assert trial.drift({}) == 0
