"""The demo's model, its recordings, and its artifact for this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

import hqc
from hqc.data.recordings import preprocessing_of, read_recordings
from hqc.frontend.load import load_model

ROOT = Path(__file__).parents[1]
NMNIST = ROOT / "examples" / "nmnist"
MODEL = NMNIST / "model.onnx"
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="no C++ compiler"
)


def pytest_addoption(parser):
    parser.addoption("--regenerate-golden", action="store_true", help="write the golden files anew")


@pytest.fixture(scope="session")
def recordings():
    model = load_model(MODEL)
    shape = model.graph.inputs[0].shape.numpy()
    return read_recordings(NMNIST / "sample", shape, preprocessing_of(model.metadata_props))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A network of every kind of kernel, which compiles in a moment."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.onnx"
    text = (ROOT / "tests" / "passes" / "golden" / "00-dialect.txt").read_text()
    onnx.save(onnx.parser.parse_model(text), path)
    return path


@pytest.fixture(scope="session")
def host_artifact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("host") / "build"
    return hqc.compile(MODEL, "host", folder, runner=True)


@pytest.fixture
def bare_target(tmp_path):
    """A target that names no emulator."""
    path = tmp_path / "bare.hqt"
    llvm = 'llvm triple "thumbv7em-none-eabihf", cpu "cortex-m4", float "hard"'
    compiler = 'compiler "thumb-freestanding-eabihf" cpu "cortex_m4"'
    path.write_text(f"target bare {{\n  {llvm}\n  {compiler}\n}}\n")
    return str(path)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def run_hqc(tmp_path):
    """Run the command line in an empty folder: exit code, stdout, stderr."""

    def run(*arguments, **kwargs):
        command = [sys.executable, "-c", "from hqc.cli import main; main()", *map(str, arguments)]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "COLUMNS": "100"},
            **kwargs,
        )
        assert "Traceback" not in done.stderr
        return done

    return run
