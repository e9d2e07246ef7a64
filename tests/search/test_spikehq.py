"""SpikeHQ on a small network and random digits: what it chooses, that it resumes and repeats."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import pytest
import torch

from hqc.data.task import Task
from hqc.errors import UserError
from hqc.models.lif import _compiled
from hqc.models.spikformer import Spikformer
from hqc.quantize import apply_recipe
from hqc.quantize.recipe import quantizable_layers
from hqc.search.factory import build_model
from hqc.search.method import Options, find_method, methods, search_space
from hqc.search.metrics import read_metrics
from hqc.search.run_folder import RunFolder
from hqc.search.spikehq import MixedWeight
from tests.conftest import NMNIST, ROOT, needs_compiler

SMALL = Options(
    keep={"head": "8u", "tokenizer.0.*": "8u"},
    float_epochs=1,
    search_epochs=2,
    train_epochs=1,
    batch=4,
)


def network():
    torch.manual_seed(0)
    return Spikformer(in_channels=2, classes=3, dim=16, depth=1, heads=2)


@pytest.fixture(scope="module")
def task():
    generator = torch.Generator().manual_seed(0)
    frames = torch.poisson(torch.full((20, 2, 2, 12, 12), 0.5), generator=generator).byte()
    labels = torch.arange(20) % 3
    return Task((frames, labels), (frames[:6], labels[:6]))


def run_search(folder, task, options=SMALL, *, resume=False, stop_after=None):
    lines = []

    def progress(text):
        lines.append(text)
        if len(lines) == stop_after:
            raise KeyboardInterrupt

    run = RunFolder(folder, {"options": repr(options)}, resume=resume, progress=progress)
    return find_method("spikehq")(network(), task, options, run), run


@pytest.fixture(scope="module")
def whole(task, tmp_path_factory):
    """The result and the folder of a search that nothing interrupted."""
    return run_search(tmp_path_factory.mktemp("whole") / "run", task)


def test_it_chooses_for_every_layer_and_keeps_what_is_kept(whole):
    result, run = whole
    assert set(result["choices"]) == set(quantizable_layers(network()))
    assert result["choices"]["head"] == result["choices"]["tokenizer.0.conv"] == "8u"
    assert set(result["choices"].values()) <= {"8u", "2u", "4u", "2l", "4l", "fp32"}
    assert json.loads((run.path / "result.json").read_text()) == result
    stages = [(m["stage"], m["epoch"]) for m in read_metrics(run.path)]
    assert stages == [("float", 0), ("search", 0), ("search", 1), ("train", 0)]
    shares = read_metrics(run.path)[2]["probabilities"]["blocks.0.mlp.0.linear"]
    assert sum(shares.values()) == pytest.approx(1)
    model = apply_recipe(network(), result["choices"])
    model.load_state_dict(run.load("train"))


@needs_compiler
def test_fused_neurons_make_the_same_network(whole, task, tmp_path):
    before = _compiled.cache_info().hits
    result, run = run_search(tmp_path / "run", task, replace(SMALL, fuse_neurons=True))
    assert _compiled.cache_info().hits > before
    assert_equal((result, run), whole)


def assert_equal(found, expected):
    """Two searches came to the same by the same way, in every bit."""
    (result, run), (expected_result, expected_run) = found, expected
    assert result == expected_result
    assert read_metrics(run.path) == read_metrics(expected_run.path)
    for name, value in expected_run.load("train").items():
        assert torch.equal(value, run.load("train")[name]), name


@pytest.mark.parametrize("stop_after", [1, 2, 3, 4])
def test_an_interrupted_search_goes_on_as_if_nothing_had_happened(
    whole, task, tmp_path, stop_after
):
    with pytest.raises(KeyboardInterrupt):
        run_search(tmp_path / "run", task, stop_after=stop_after)
    assert_equal(run_search(tmp_path / "run", task, resume=True), whole)


def test_with_hardware_above_all_every_layer_takes_two_bits(task, tmp_path):
    options = Options(beta=1e4, float_epochs=0, search_epochs=4, train_epochs=0, batch=4)
    result, _ = run_search(tmp_path / "run", task, options)
    assert result["average_bits"] == 2
    assert result["storage_ratio"] == result["energy_ratio"] == 16


def test_a_mixture_is_its_quantizers_and_teaches_its_logits():
    torch.manual_seed(0)
    weight = torch.randn(4, 6)
    mixed = MixedWeight(["2u", "4l", "fp32"], weight)
    with torch.no_grad():
        mixed.logits[1] = 9.0
    assert torch.equal(mixed.eval()(weight), mixed.quantizers[1](weight))
    mixed.train()(weight).square().sum().backward()
    assert mixed.logits.grad.abs().sum() > 0
    mixed.temperature = 1e-3
    sample = mixed(weight)
    assert any(torch.allclose(sample, q(weight), atol=1e-5) for q in mixed.quantizers)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(choices=("2u", "5x")), "unknown quantizer '5x'"),
        (Options(keep={"had": "8u"}), "'had' matches no layer"),
        (Options(keep={"head": "9"}), "unknown quantizer '9'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(UserError, match=message):
        search_space(network(), options)


def test_methods_are_found_by_name():
    assert "spikehq" in methods()
    with pytest.raises(UserError, match="did you mean 'spikehq'"):
        find_method("spikhq")


def test_a_folder_in_use_is_not_overwritten(whole, task):
    folder = whole[1].path
    with pytest.raises(UserError, match="is not empty"):
        run_search(folder, task)
    with pytest.raises(UserError, match="other options: options"):
        run_search(folder, task, Options(beta=3.0), resume=True)


@pytest.fixture
def recordings(tmp_path):
    for split, digit in product(("Train", "Test"), range(10)):
        place = tmp_path / split / str(digit)
        place.mkdir(parents=True)
        for file in sorted((NMNIST / "sample" / str(digit)).glob("*.bin"))[:4]:
            (place / file.name).symlink_to(file)
    return tmp_path


def test_the_command_searches_and_exports_what_compiles(run_hqc, recordings, tmp_path):
    model = f"{ROOT / 'examples' / 'nmnist' / 'model.py'}:spikformer"
    options = ["--model", model, "--data", f"nmnist:{recordings}", "--choices", "2u,4u,2l,4l"]
    options += ["--keep", "head=8u", "--keep", "tokenizer.0.conv=8u", "-o", "run"]
    epochs = ["--float-epochs", 1, "--search-epochs", 1, "--train-epochs", 1]
    done = run_hqc("search", *options, *epochs)
    assert done.returncode == 0, done.stderr
    assert "bits a weight" in done.stdout
    for arguments in (["-o", "model.onnx"], ["-o", "fp32.onnx", "--float"]):
        done = run_hqc("export", "run", *arguments)
        assert done.returncode == 0, done.stderr
    done = run_hqc("compile", "model.onnx", "--target", "rv64gc", "-o", "build")
    assert done.returncode == 0, done.stderr
    bits = json.loads((tmp_path / "build" / "model.json").read_text())["average_bits"]
    assert bits == json.loads((tmp_path / "run" / "result.json").read_text())["average_bits"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--data": "nmnst:."}, "did you mean 'nmnist'?"),
        ({"--data": "nmnist:nowhere"}, "there is no folder nowhere"),
        ({"--data": "nmnist:empty"}, "holds no recordings"),
        ({"--model": "model.py"}, "is not FILE.py:FUNCTION"),
        ({"--model": "broken.py:network"}, "broken.py cannot be imported: SyntaxError"),
        ({"--model": "number.py:network"}, "gives int, not a torch module"),
        ({"--model": "failing.py:network"}, "fails: ZeroDivisionError"),
        ({"--model": "number.py:other"}, "has no function 'other'"),
        ({"--method": "spikhq"}, "did you mean 'spikehq'?"),
        ({"--keep": "head"}, "is not GLOB=CHOICE"),
        ({"--keep": "haed=8u"}, "'haed' matches no layer"),
        ({"--choices": "2u,5x"}, "unknown quantizer '5x'"),
        ({"--float-from": "empty"}, "holds no float network"),
        ({"--device": "gpu"}, "--device 'gpu': "),
    ],
)
def test_mistakes(run_hqc, recordings, tmp_path, change, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.py").write_text("def network(:\n")
    (tmp_path / "number.py").write_text("def network():\n    return 3\n")
    (tmp_path / "failing.py").write_text("def network():\n    return 1 / 0\n")
    model = f"{ROOT / 'examples' / 'nmnist' / 'model.py'}:spikformer"
    given = {"--model": model, "--data": f"nmnist:{recordings}", **change}
    done = run_hqc("search", *(part for pair in given.items() for part in pair), "-o", "run")
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "run").exists()


def test_the_seed_decides_the_first_weights():
    text = f"{ROOT / 'examples' / 'nmnist' / 'model.py'}:spikformer"
    first, again, other = (build_model(text, seed).head.weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_export_of_an_unfinished_search(run_hqc, tmp_path):
    done = run_hqc("export", tmp_path)
    assert done.returncode == 2
    assert "is not the folder of a finished search" in done.stderr
