"""`hqc quantize`: what it writes, what it refuses, that it goes on and needs no torch."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest

from hqc.data.recordings import preprocessing_of, read_recordings
from hqc.frontend.load import load_model
from hqc.frontend.save import save_model
from hqc.post_training.onnx_network import OnnxNetwork
from hqc.post_training.remembered import Remembered
from hqc.search.results import CONFIG, RECIPE, RESULT
from hqc.verification import verify
from tests.conftest import NMNIST, needs_compiler
from tests.networks import Network

FLOAT, SAMPLE = NMNIST / "fp32.onnx", NMNIST / "sample"


@pytest.mark.parametrize(("bits", "least"), [(8, 97), (4, 94)])
def test_the_example_at_some_bits(bits, least, run_hqc, tmp_path):
    done = run_hqc("quantize", FLOAT, "--bits", bits, "--data", SAMPLE, "-o", "model.onnx")
    assert done.returncode == 0, done.stderr
    right = int(re.search(r"model.onnx: (\d+).00% of 100 recordings right", done.stdout)[1])
    assert right >= least
    assert f"{bits}.00 bits a weight, one scale a channel, {32 / bits:.2f}x" in done.stdout
    rows = re.findall(r"(?m)^(\S+) +(conv|sdsa|linear) +([\d,]+) +(\d+)  uniform$", done.stdout)
    assert len(rows) == 12
    assert {int(row[3]) for row in rows} == {bits}
    again = run_hqc("run", "model.onnx", SAMPLE, "--summary")
    assert f"{right}/100 right" in again.stdout
    folder = tmp_path / "model.quantize"
    assert {p.name for p in folder.iterdir()} == {
        CONFIG, RECIPE, RESULT, "candidates.jsonl", "weights.svg",
    }  # fmt: skip
    assert set(json.loads((folder / RECIPE).read_text()).values()) == {f"{bits}u"}


@needs_compiler
def test_what_is_written_compiles_and_is_verified(run_hqc, tmp_path):
    run_hqc("quantize", FLOAT, "--bits", 4, "--data", SAMPLE, "-o", "model.onnx")
    found = verify(tmp_path / "model.onnx", "host", data=SAMPLE / "8")
    assert found.ok
    assert found.same_class == found.recordings == 2


@pytest.fixture
def small(tmp_path, rng):
    """A float network of images without a quantizer of its input, in a moment."""
    net = Network((2, 1, 3, 4, 4), classes=2)
    image = net.view("frames", (2, 3, 4, 4))
    weights = net.constant(rng.normal(size=(6, 3, 1, 1)) / 100)
    x = net.lif(net.op("Conv", image, weights, kernel_shape=[1, 1], name="conv"))
    rates = net.view(net.mean(x, [0, 2, 3]), (1, 6))
    head = net.constant(rng.normal(size=(2, 6)))
    net.op("Gemm", rates, head, transB=1, name="head", out="logits")
    return net.save(tmp_path / "float.onnx")


@pytest.fixture
def images(tmp_path, rng):
    colors = rng.random((40, 3, 1, 1))
    frames = (rng.integers(0, 256, (40, 3, 4, 4)) * colors).astype(np.uint8)
    np.savez(tmp_path / "images.npz", x=frames, y=np.arange(40) % 2)
    return tmp_path / "images.npz"


def test_without_labels_agreement_with_the_float_network_counts(small, images, run_hqc, tmp_path):
    np.savez(tmp_path / "bare.npz", images=np.load(images)["x"])
    done = run_hqc("quantize", small, "--data", "bare.npz", "--bits", 2, "-o", "m.onnx", "--json")
    result = json.loads(done.stdout)
    assert (result["counted"], result["float_accuracy"]) == ("agreement", 1.0)
    assert 0 < result["accuracy"] < 1
    shape = (2, 1, 3, 4, 4)
    recordings = read_recordings(tmp_path / "bare.npz", shape, None)
    assert len(recordings) == result["recordings"] == 40
    done = run_hqc("quantize", small, "--data", images, "--bits", 8, "-o", "m.onnx", "--json")
    assert json.loads(done.stdout)["counted"] == "labels"


def test_the_input_gets_its_scale_and_the_metadata_what_is_shown(small, images, run_hqc, tmp_path):
    def scale(*options):
        arguments = ["--data", images, "--bits", 8, "-o", "m.onnx", *options]
        assert run_hqc("quantize", small, *arguments).returncode == 0
        model = load_model(tmp_path / "m.onnx")
        (first,) = (n for n in model.graph if n.inputs[0] is model.graph.inputs[0])
        assert (first.op_type, first.attributes["bits"].value) == ("QuantUniform", 8)
        return model.metadata_props, first.inputs[1].const_value.numpy()

    metadata, found = scale("--preprocessing", "image")
    assert found == 1
    assert preprocessing_of(metadata)["kind"] == "image"
    metadata, found = scale("--input-scale", 2)
    assert found == 2
    assert preprocessing_of(metadata) is None


def test_recordings_are_limited_and_candidates_measured_on_some(small, images, run_hqc, tmp_path):
    limits = ["--limit", 10, "--measure", 4, "--method", "greedy", "--tolerance", 1]
    done = run_hqc("quantize", small, "--data", images, *limits, "-o", "m.onnx", "--json")
    result = json.loads(done.stdout)
    assert (result["recordings"], result["measured"]) == (10, 4)
    assert set(result["choices"].values()) == {"4u"}
    lines = (tmp_path / "m.quantize" / "candidates.jsonl").read_text().splitlines()
    drops = [json.loads(x)["value"] for x in lines if json.loads(x)["what"] == "drop"]
    assert len(drops) == 6
    assert all(4 * drop == int(4 * drop) for drop in drops)


@pytest.mark.parametrize("method", ["qsvit", "greedy", "beam"])
@pytest.mark.parametrize("stop", [1, 5])
def test_an_interrupted_search_goes_on(method, stop, small, images, run_hqc, tmp_path, monkeypatch):
    arguments = ["quantize", small, "--data", images, "--method", method, "--keep", "head=8u"]
    arguments += ["--choices", "8u,6u,4u,3u,2u", "--tolerance", 0.05]
    assert run_hqc(*arguments, "-o", "whole.onnx").returncode == 0
    measured = []
    original = {name: getattr(OnnxNetwork, name) for name in ("drop", "drift")}

    def counted(name):
        def measure(self, choices):
            if len(measured) == stop:
                raise KeyboardInterrupt
            measured.append(choices)
            return original[name](self, choices)

        return measure

    for name in original:
        monkeypatch.setattr(OnnxNetwork, name, counted(name))
    done = run_hqc(*arguments, "-o", "part.onnx")
    assert done.returncode == 2
    assert "interrupted; part.quantize holds every candidate" in done.stderr
    assert not (tmp_path / "part.onnx").exists()
    refused = run_hqc(*arguments, "-o", "part.onnx")
    assert (refused.returncode, "part.quantize is not empty" in refused.stderr) == (2, True)
    other = run_hqc(*arguments, "-o", "part.onnx", "--resume", "--per", "tensor")
    assert (other.returncode, "with other options: per" in other.stderr) == (2, True)
    with (tmp_path / "part.quantize" / "candidates.jsonl").open("a") as file:
        file.write('{"what": "drop", "choi')  # a line that was cut short
    stop = -1
    assert run_hqc(*arguments, "-o", "part.onnx", "--resume").returncode == 0
    files = (tmp_path / f"{name}.quantize" / "candidates.jsonl" for name in ("whole", "part"))
    whole, part = (file.read_text() for file in files)
    assert whole == part
    assert len(measured) == len(whole.splitlines())
    assert (tmp_path / "whole.onnx").read_bytes() == (tmp_path / "part.onnx").read_bytes()


def test_a_finished_search_is_replaced_and_other_folders_are_not(small, images, run_hqc, tmp_path):
    arguments = ["quantize", small, "--data", images, "-o", "m.onnx", "--bits"]
    for bits in (8, 4):
        assert run_hqc(*arguments, bits).returncode == 0
    result = json.loads((tmp_path / "m.quantize" / RESULT).read_text())
    assert result["choices"]["conv"] == "4u"
    (tmp_path / "m.quantize" / "notes.txt").write_text("mine")
    done = run_hqc(*arguments, 8)
    assert (done.returncode, "m.quantize is not empty" in done.stderr) == (2, True)
    assert json.loads((tmp_path / "m.quantize" / RESULT).read_text()) == result


def test_progress_says_what_is_left():
    from hqc.post_training.network import Layer
    from hqc.post_training.qsvit import qsvit
    from hqc.post_training.search import Search

    class Harmless(Remembered):
        def __init__(self):
            self.layers = {n: Layer(n, "conv", np.ones(3)) for n in ("a", "b")}

        def drop(self, choices):
            return 0.0

    said = []
    space = {"a": ["8u", "4u"], "b": ["8u", "4u"]}
    found = qsvit(Search(Harmless(), space, progress=said.append))
    assert found.recipe == {"a": "4u", "b": "4u"}
    assert said[0] == "sensitivity 1/2: a; 0 candidates measured, at most 7 left"
    assert "sensitivity 2/2: b; 3 candidates measured, at most 4 left, 0 s" in said


BLOCKED = """
import sys
for name in {names}:
    sys.modules[name] = None
from hqc.cli import main
main()
"""


@pytest.mark.parametrize("names", [("torch",), ("torch", "matplotlib")])
def test_torch_is_not_needed(names, small, images, tmp_path):
    arguments = ["quantize", str(small), "--data", str(images), "-o", str(tmp_path / "m.onnx")]
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED.format(names=names), *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ("no pictures" in done.stdout) == ("matplotlib" in names)
    pictures = {p.name for p in (tmp_path / "m.quantize").glob("*.svg")}
    assert pictures == (set() if "matplotlib" in names else {"weights.svg", "sensitivity.svg"})


GOOD = np.arange(192, dtype=np.uint8).reshape(4, 3, 4, 4)
REFUSED = {
    "another shape": ({"x": GOOD[:, :2]}, (), "x.npz[0]: frames [2, 4, 4]"),
    "zeros": ({"x": GOOD * 0}, (), "the examples are all zeros"),
    "labels": (
        {"x": GOOD, "y": [0, 1, 2, 0]}, (),
        "x.npz: the label of recording 3 is 2, and the model has 2 classes",
    ),
    "no data": ({}, ("--data", "none"), "none holds no .bin, .npy, .npz or image recordings"),
    "no file": ({}, ("--data", "nowhere"), "there is no nowhere"),
    "not uniform": ({"x": GOOD}, ("--choices", "8u,4l"), "'4l' is not uniform"),
    "kept": ({"x": GOOD}, ("--keep", "head=fp32"), "'fp32' is not uniform"),
    "unknown bits": ({"x": GOOD}, ("--choices", "17u"), "unknown quantizer '17u'"),
    "no such layer": ({"x": GOOD}, ("--keep", "tail=8u"), "--keep 'tail' matches no layer"),
    "no such method": ({"x": GOOD}, ("--method", "gredy"), "did you mean 'greedy'?"),
    "method": ({"x": GOOD}, ("--bits", 4, "--method", "beam"), "--bits 4 are those of every"),
    "choices": ({"x": GOOD}, ("--bits", 4, "--choices", "8u"), "both say which bits"),
    "nothing to resume": ({"x": GOOD}, ("--resume",), "m.quantize holds no search to resume"),
    "no such profile": ({"x": GOOD}, ("--profile", "nothing"), "'nothing'"),
    "over the model": ({"x": GOOD}, ("-o", "float.onnx"), "float.onnx is the model itself"),
    "over a folder": ({"x": GOOD}, ("-o", "none"), "--output none is a folder"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_message_and_nothing_is_written(name, small, run_hqc, tmp_path):
    arrays, options, message = REFUSED[name]
    (tmp_path / "none").mkdir()
    np.savez(tmp_path / "x.npz", **arrays)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    done = run_hqc("quantize", "float.onnx", "-o", "m.onnx", "--data", "x.npz", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("hqc: error:") == 1
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_a_model_without_float_layers_is_refused(run_hqc, tmp_path):
    done = run_hqc("quantize", NMNIST / "model.onnx", "--bits", 4, "--data", SAMPLE)
    assert done.returncode == 2
    assert "no convolution or linear layer with float weights" in done.stderr
    assert not list(tmp_path.iterdir())


def test_only_float_layers_are_quantized(run_hqc, tmp_path):
    """Of a network with one float layer the others stay as they are."""
    model = load_model(NMNIST / "model.onnx")
    head = next(n for n in model.graph if n.name == "head")
    quantizer = head.inputs[1].producer()
    head.replace_input_with(1, quantizer.inputs[0])
    model.graph.remove(quantizer, safe=True)
    save_model(model, tmp_path / "mixed.onnx")
    data = SAMPLE / "8"
    done = run_hqc("quantize", "mixed.onnx", "--bits", 4, "--data", data, "-o", "m.onnx", "--json")
    assert json.loads(done.stdout)["choices"] == {"head": "4u"}
    kinds = [
        sorted(n.op_type for n in onnx.load(path).graph.node if n.op_type.startswith("Quant"))
        for path in (NMNIST / "model.onnx", tmp_path / "m.onnx")
    ]
    assert kinds[0] == kinds[1]
