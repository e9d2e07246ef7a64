"""hqc info says what a model is, whether it is compiled or refused."""

from __future__ import annotations

import json

import pytest

from tests.conftest import MODEL, NMNIST
from tests.networks import Network


def described(run_hqc, *arguments):
    done = run_hqc("info", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def network(path, neurons="LIF", depthwise=False, **attributes):
    """A convolution, neurons and a classifier."""
    net = Network((2, 1, 3, 4, 4))
    shape = (3, 1, 3, 3) if depthwise else (5, 3, 3, 3)
    weights = net.quantized([[[[1.0] * 3] * 3] * shape[1]] * shape[0], bits=4)
    group = 3 if depthwise else 1
    y = net.op("Conv", net.input(), weights, kernel_shape=[3, 3], group=group, name="stem")
    domain = "ai.hqc" if neurons.endswith("LIF") else ""
    spikes = net.op(neurons, y, domain=domain, **attributes)
    net.head(net.mean(spikes, (0, 2, 3), keepdims=1), shape[0])
    return net.save(path)


def test_of_the_example(run_hqc, host_artifact):
    found = described(run_hqc, MODEL)
    assert found["refused"] is None
    assert found["file"]["bytes"] == MODEL.stat().st_size
    assert found["file"]["opset"] == {"ai.onnx": 21, "ai.hqc": 1}
    assert found["input"]["shape"] == [8, 1, 2, 34, 34]
    assert found["input"]["quantizer"] == {"bits": 8, "signed": False, "scale": 1.0}
    assert found["input"]["preprocessing"]["kind"] == "events"
    manifest = host_artifact.manifest
    assert found["parameters"] == manifest["weights"]
    assert found["average_bits"] == pytest.approx(manifest["average_bits"])
    kernels = {k["layer"]: k["op"] for k in manifest["kernels"] if k["layer"]}
    layers = {layer["name"]: layer["kernel"] for layer in found["layers"] if layer["parameters"]}
    assert layers == kernels
    recipe = json.loads((NMNIST / "recipe.json").read_text())
    schemes = {"u": "uniform", "l": "pow2"}
    for layer in found["layers"]:
        if layer["parameters"]:
            bits, scheme = recipe[layer["name"]]
            assert (layer["bits"], layer["scheme"]) == (int(bits), schemes[scheme])


def test_counts_work_and_names_neurons(run_hqc, tmp_path):
    found = described(run_hqc, network(tmp_path / "n.onnx", tau=3.0, soft_reset=1))
    stem, head = found["layers"]
    assert (stem["name"], stem["kind"], stem["shape"]) == ("stem", "conv 3x3", [2, 5, 2, 2])
    assert stem["parameters"] == 5 * 3 * 9
    assert stem["multiply_accumulates"] == 5 * 3 * 9 * 2 * 2 * 2
    assert (stem["neurons"]["tau"], stem["neurons"]["soft_reset"]) == (3.0, 1)
    assert (head["kind"], head["multiply_accumulates"], head["neurons"]) == ("linear", 20, None)
    said = run_hqc("info", tmp_path / "n.onnx").stdout
    assert "LIF tau 3, soft reset" in said
    assert "4 uniform" in said


def test_names_depthwise_convolutions_and_levels(run_hqc, tmp_path):
    path = network(tmp_path / "n.onnx", "IntegerLIF", depthwise=True, levels=4)
    stem = described(run_hqc, path)["layers"][0]
    assert stem["kind"] == "depthwise conv 3x3"
    assert stem["multiply_accumulates"] == 3 * 9 * 2 * 2 * 2
    assert stem["neurons"]["levels"] == 4
    assert "IntegerLIF tau 2, 4 levels" in run_hqc("info", path).stdout


def test_of_a_model_that_is_refused(run_hqc, tmp_path):
    path = network(tmp_path / "n.onnx", "Sigmoid")
    found = described(run_hqc, path)
    assert "Sigmoid" in found["refused"]
    assert [layer["kernel"] for layer in found["layers"]] == [None, None]
    assert f"not compiled: {found['refused']}" in run_hqc("info", path).stdout


def test_refuses_what_is_no_model(run_hqc, tmp_path):
    (tmp_path / "text.onnx").write_text("hello")
    done = run_hqc("info", "text.onnx")
    assert done.returncode == 2
    assert "text.onnx is not an ONNX model" in done.stderr
