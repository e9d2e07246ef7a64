"""The demo's model, its recordings, its artifacts; and what every test folder uses."""

from __future__ import annotations

import fcntl
import gc
import io
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

import hqc
from hqc.cli import main
from hqc.data.recordings import preprocessing_of, read_recordings
from hqc.dialect import ops
from hqc.frontend.load import load_model

ROOT = Path(__file__).parents[1]
NMNIST = ROOT / "examples" / "nmnist"
MODEL = NMNIST / "model.onnx"
HQC = [sys.executable, "-c", "from hqc.cli import main; main()"]
"""The command line in a process of its own."""
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="no C++ compiler"
)


def pytest_addoption(parser):
    parser.addoption("--regenerate-golden", action="store_true", help="write the golden files anew")


def pytest_configure():
    """Have the collector of garbage walk the objects of torch, TVM and all tests less often, which
    else takes a tenth of the time."""
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def bodies_of_ops_stay_as_they_are():
    """Models share these."""
    yield
    for op in (op for op in ops() if "body" in vars(op)):
        made = ir.serde.serialize_function(ir.serde.deserialize_function(op.proto))
        assert ir.serde.serialize_function(op.body) == made, op.name


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
def once(tmp_path_factory):
    """Call a function with an empty folder, once for all processes of the test run."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    shared.mkdir(exist_ok=True)

    def made(name, make):
        folder, done = shared / name, shared / f"{name}.done"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def host_artifact(once):
    made = once("host", lambda folder: hqc.compile(MODEL, "host", folder / "build", bench=True))
    return hqc.Artifact.open(made / "build")


@pytest.fixture(scope="session")
def arm_artifact(once):
    made = once("arm", lambda folder: hqc.compile(MODEL, "arm-a72", folder / "build"))
    return hqc.Artifact.open(made / "build")


@pytest.fixture
def nothing_kept(monkeypatch):
    """Compile as a process does that has compiled nothing before."""
    monkeypatch.setattr("hqc.codegen.tir._kept", {})
    monkeypatch.setattr("hqc.codegen.kept_functions._kept", {})


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
def run_hqc(tmp_path, monkeypatch):
    """Run the command line in an empty folder, in this process: exit code, stdout, stderr.

    A process of its own would load TVM each time, which takes longer than what most commands do.
    """

    def run(*arguments):
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setattr(sys, "argv", ["hqc", *map(str, arguments)])
        code = 0
        with redirect_stdout(out), redirect_stderr(err):
            try:
                main()
            except SystemExit as ended:
                code = ended.code
        assert os.environ.get("HQC_TRACEBACK") or "Traceback" not in err.getvalue()
        return subprocess.CompletedProcess(sys.argv, code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def run_hqc_alone(tmp_path):
    """Run the command line in an empty folder, in a process of its own."""

    def run(*arguments, **kwargs):
        done = subprocess.run(
            [*HQC, *map(str, arguments)],
            cwd=tmp_path, capture_output=True, text=True, check=False, **kwargs,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done

    return run
