"""The trained networks of other libraries, from torch and through NIR: they classify as before."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import hqc
from hqc.data.recordings import read_recordings
from tests.conftest import NMNIST, ROOT, needs_compiler

LIBRARIES = ROOT / "examples" / "libraries"
SHAPE = (8, 1, 2, 34, 34)
PREPROCESSING = {"kind": "events", "time_steps": 8, "height": 34, "width": 34}


def recordings():
    found = read_recordings(NMNIST / "sample", SHAPE, PREPROCESSING)
    return np.stack([r.frames for r in found]), np.array([r.label for r in found])


def networks():
    spec = importlib.util.spec_from_file_location("library_networks", LIBRARIES / "networks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def by_library(name, frames):
    """How often each output neuron fires, as the library's own forward says: [N, 10]."""
    net = networks().NETWORKS[name]()
    weights = torch.load(LIBRARIES / f"{name}.pt", weights_only=True)
    missing, unexpected = net.load_state_dict(weights, strict=False)
    assert (missing, unexpected) == ([], [])
    with torch.no_grad():
        return (
            networks().rates(net.eval(), torch.from_numpy(frames[:, :, 0]).transpose(0, 1)).numpy()
        )


def check(model, folder, name, steps, least):
    """Compiled code fires at the library's rates times `steps`, and finds as many of each digit."""
    artifact = hqc.compile(model, "host", folder / "build")
    frames, labels = recordings()
    expected = by_library(name, frames)
    found = np.stack([artifact.run(x).ravel() for x in frames]) / steps
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert len(labels) == 100
    for digit in range(10):
        own, theirs = (x[labels == digit].argmax(1) == digit for x in (found, expected))
        assert own.sum() == theirs.sum(), digit
    accuracy = (found.argmax(1) == labels).mean()
    assert accuracy >= least
    return accuracy


@needs_compiler
@pytest.mark.parametrize(
    ("name", "more", "least"),
    [
        ("snntorch_net", ["--take", "0"], 0.95),
        ("norse_net", [], 0.92),
        ("snntorch_nir_net", ["--take", "0"], 0.95),
        ("norse_nir_net", [], 0.9),
    ],
)
def test_compiled_code_classifies_as_the_library_does(name, more, least, run_hqc, tmp_path):
    arguments = ["--input", ",".join(map(str, SHAPE)), "--time-steps", "8"]
    real = ["--data", NMNIST / "sample", "--preprocessing", "events"]
    checkpoint = LIBRARIES / f"{name}.pt"
    assert checkpoint.stat().st_size < 1_000_000
    network = f"{LIBRARIES / 'networks.py'}:{name}"
    done = run_hqc("export", network, "--checkpoint", checkpoint, *arguments, *real, *more)
    assert done.returncode == 0, done.stderr
    check(tmp_path / "model.onnx", tmp_path, name, 1, least)


@needs_compiler
@pytest.mark.parametrize(
    ("name", "more", "least"),
    [("snntorch_nir_net", [], 0.95), ("norse_nir_net", ["--dt", "1e-3"], 0.9)],
)
def test_so_does_what_went_through_nir(name, more, least, run_hqc, tmp_path):
    file = tmp_path / "network.nir"
    script = [sys.executable, LIBRARIES / "write_nir.py", name, LIBRARIES / f"{name}.pt"]
    subprocess.run([*script, "-o", file], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    asked = ["--time-steps", "8", "--input-scale", "1", "--preprocessing", "events"]
    done = run_hqc("import", file, *asked, *more)
    assert done.returncode == 0, done.stderr
    found = check(tmp_path / "model.onnx", tmp_path, name, 8, least)
    ran = run_hqc("run", tmp_path / "build", NMNIST / "sample", "--summary", "--json")
    assert json.loads(ran.stdout)["accuracy"] == found
