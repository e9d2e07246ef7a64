"""Layers that list what does not fire, where that was measured to be less."""

from __future__ import annotations

import numpy as np
import pytest

import hqc
from hqc.compiler import lower, pipeline_for
from hqc.cost_layers import Layer, Layers, network, recording
from hqc.dialect import find_op
from hqc.dialect.metadata import LISTED, RATE
from hqc.frontend.load import load_model
from hqc.frontend.save import save_model
from hqc.kernel_counts import count_kernels
from hqc.passes.choose_kernels import ChooseKernels
from hqc.passes.spike_kernels import SPIKE_LAYERS
from hqc.targets import load_target

NETWORK = Layers(96, 4, 2, [Layer(64, 1, 2), Layer(64, 3, 4)])


@pytest.fixture
def layers(tmp_path):
    """The layers of the network, lowered for a target; spikes fire at a rate each step."""
    save_model(network(NETWORK), tmp_path / "layers.onnx")

    def lowered(target, *rates):
        fires = np.random.default_rng(2).random((2, 1, 96, 4, 4))
        frames = (fires < np.reshape(rates, (2, 1, 1, 1, 1))).astype(np.float32)
        steps = pipeline_for(load_target(target))
        kernels = lower(load_model(tmp_path / "layers.onnx"), steps, calibration=[frames]).kernels
        return frames, [n for n in kernels.graph if n.op_type in SPIKE_LAYERS]

    return lowered


def complements(nodes):
    return [find_op(n).attributes(n)["complement"] for n in nodes]


@pytest.mark.parametrize(
    ("target", "rates", "expected"),
    [
        ("arm-a72", (0.3, 0.4), 0),
        ("arm-a72", (0.8, 0.8), 1),
        ("arm-a72", (0.1, 0.95), 1),
        ("arm-a72", (1, 1), 1),
        ("rv64gcv", (0.1, 0.95), 1),
        ("rv64gc", (0.8, 0.8), 0),
    ],
)
def test_what_does_not_fire_is_listed_where_that_is_less(layers, target, rates, expected):
    assert complements(layers(target, *rates)[1]) == [expected] * 2


def test_no_layer_does_so_without_recordings(layers, tmp_path):
    steps = pipeline_for(load_target("arm-a72"))
    kernels = lower(load_model(tmp_path / "layers.onnx"), steps).kernels
    assert complements(n for n in kernels.graph if n.op_type in SPIKE_LAYERS) == [0, 0]


def test_what_is_fewer_is_measured_by_step_and_row(layers):
    frames, nodes = layers("host", 0.1, 0.95)
    rows = frames.mean((1, 2, 4))
    for node in nodes:
        said = node.inputs[0].metadata_props
        assert float(said[RATE]) == pytest.approx(frames.mean(), abs=1e-5)
        assert float(said[LISTED]) == pytest.approx(np.minimum(rows, 1 - rows).mean(), abs=1e-5)


def test_kernels_cost_what_they_list(layers):
    chooser = ChooseKernels(vector_bits=128)
    few, many = (layers("arm-a72", rate, rate)[1] for rate in (0.125, 0.875))
    for a, b in zip(few, many, strict=True):
        for kernel in ("event", "fields"):
            assert chooser.cost(a, kernel) == pytest.approx(chooser.cost(b, kernel), rel=0.1)


def test_nine_tenths_take_about_as_long_as_one_tenth(tmp_path):
    """They take 2.3 and 4.4 times as many instructions where every spike is added."""
    model = tmp_path / "layers.onnx"
    save_model(network(NETWORK), model)
    counted = []
    for rate in (0.1, 0.9):
        sample = tmp_path / f"at-{rate}"
        sample.mkdir()
        frames = recording(NETWORK, rate)
        np.save(sample / "one.npy", frames)
        built = hqc.compile(model, "arm-a72", tmp_path / f"build-{rate}", calibrate=sample)
        kernels, _ = count_kernels(built, [frames])
        names = [k["name"] for k in built.manifest["kernels"]]
        layers = [c.instructions for n, c in zip(names, kernels, strict=True) if "layer." in n]
        assert len(layers) == 2
        counted.append(layers)
    for few, many in zip(*counted, strict=True):
        assert few < many < 2 * few
