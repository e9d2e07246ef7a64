"""The examples do what their READMEs say."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import hqc
from hqc.search.results import RESULT
from tests.conftest import ROOT

CIFAR10 = ROOT / "examples" / "cifar10"


def test_the_images_network_is_what_its_search_found(tmp_path):
    result = json.loads((CIFAR10 / "search" / RESULT).read_text())
    artifact = hqc.compile(CIFAR10 / "model.onnx", "host", tmp_path / "build")
    assert artifact.manifest["average_bits"] == result["average_bits"] <= 3.67
    assert result["accuracy"] >= result["float_accuracy"] - 0.01
    assert json.loads((CIFAR10 / "recipe.json").read_text()) == result["choices"]
    readme = (CIFAR10 / "README.md").read_text()
    for said in (result["accuracy"], result["float_accuracy"]):
        assert f"{said:.2%}".replace("%", " %") in readme


def test_compiled_code_equals_integers_on_real_images():
    found = hqc.verify(CIFAR10 / "model.onnx", "arm-a72", data=CIFAR10 / "sample" / "3")
    assert found.ok
    assert found.recordings == 5
    assert found.unexplained == {}
    assert found.spikes > 4_000_000


@pytest.mark.parametrize("network", ["spikformer_2_256", "spike_driven_2_512"])
def test_a_network_of_published_size_compiles_to_its_integers(network, tmp_path):
    script = ROOT / "examples" / "published" / "make_model.py"
    asked = [network, "--size", "32", "--images", "2", "-o", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, script, *asked], check=True, stdout=subprocess.PIPE, text=True
    )
    assert "rates 0.00%" not in done.stdout
    assert "firing rates" in done.stdout
    found = hqc.verify(tmp_path / "model.onnx")
    assert found.ok
    assert found.recordings == 2
