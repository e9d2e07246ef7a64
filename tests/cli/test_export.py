"""hqc export of a module that is the user's own."""

from __future__ import annotations

import json
import re

import numpy as np
import onnx
import pytest
import torch

import hqc
from hqc.extras import INSTALLED_BY
from hqc.search.factory import build_model
from tests.conftest import NMNIST, needs_compiler

CODE = """
from __future__ import annotations
from dataclasses import dataclass
import torch
from torch import nn
from beside import LIF

@dataclass
class Settings:
    width: int

class Net(nn.Module):
    def __init__(self, width=6, classes=5, twice=False):
        super().__init__()
        settings = Settings(width)
        self.conv = nn.Conv2d(2, settings.width, 3)
        self.bn = nn.BatchNorm2d(settings.width)
        self.lif = LIF(2.0, 0.1)
        self.head = nn.Linear(settings.width, classes)
        self.twice = twice

    def forward(self, x):
        y = self.lif(self.bn(self.conv(x.flatten(0, 1)))[:, None])
        logits = self.head(y.mean((0, 3, 4)))
        return {"logits": logits, "double": 2 * logits} if self.twice else logits

class Frame(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        return self.head(self.conv(x).clamp(min=0).mean((2, 3)))

def make(**arguments):
    return Net(**arguments)

def number():
    return 5

def broken():
    raise ValueError("no such file")
"""


@pytest.fixture
def code(tmp_path):
    (tmp_path / "beside.py").write_text("from hqc.models.lif import LIF\n")
    path = tmp_path / "my_code.py"
    path.write_text(CODE)
    return path


@pytest.fixture
def made(code):
    """The module, with weights and statistics that no new one has."""
    torch.manual_seed(7)
    net = build_model(f"{code}:make", seed=7)
    for buffer in net.buffers():
        buffer.data = torch.rand_like(buffer.float()).to(buffer) + 1
    torch.save(net.state_dict(), code.parent / "weights.pt")
    return net.eval()


INPUT = ("--input", "3,1,2,8,7")


@needs_compiler
def test_a_modules_model_computes_what_it_does(run_hqc, made, tmp_path, rng):
    np.save(tmp_path / "real.npy", rng.integers(0, 9, (3, 1, 2, 8, 7)))
    arguments = ("my_code.py:make", "--checkpoint", "weights.pt", "--example", "real.npy")
    done = run_hqc("export", *arguments, "-o", "out/float.onnx", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["input_quantized"]
    artifact = hqc.compile(tmp_path / "out" / "float.onnx", "host", tmp_path / "build")
    frames = rng.integers(0, 9, (3, 1, 2, 8, 7)).astype(np.float32)
    with torch.no_grad():
        expected = made(torch.from_numpy(frames)).numpy()
    np.testing.assert_allclose(artifact.run(frames), expected, atol=1e-3)


def test_without_real_frames_the_input_is_left_as_it_is(run_hqc, made, tmp_path):
    done = run_hqc("export", "my_code.py:make", "--checkpoint", "weights.pt", *INPUT)
    assert done.returncode == 0, done.stderr
    assert "its input has no scale yet: give --data, or hqc quantize it" in done.stdout
    assert "QuantUniform" not in {n.op_type for n in onnx.load(tmp_path / "model.onnx").graph.node}
    done = run_hqc("export", "my_code.py:Net", *INPUT, "--input-scale", "0.25", "-o", "scaled.onnx")
    assert done.returncode == 0, done.stderr
    assert "its weights are those that it begins with" in done.stdout
    assert "no scale" not in done.stdout
    (quantizer,) = (
        n for n in onnx.load(tmp_path / "scaled.onnx").graph.node if n.op_type == "QuantUniform"
    )
    assert {a.name: a.i for a in quantizer.attribute}["signed"] == 0


def test_arguments_names_and_outputs(run_hqc, code, tmp_path):
    arguments = ("--arg", "width=7", "--arg", "twice=True", "--take", "double")
    done = run_hqc("export", "my_code:make", *arguments, *INPUT, "--name", "mine")
    assert done.returncode == 0, done.stderr
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert graph.name == "mine"
    assert [d.dim_value for d in graph.output[0].type.tensor_type.shape.dim] == [1, 5]
    done = run_hqc("export", "my_code:make", *arguments[:-2], *INPUT)
    assert done.returncode == 2
    assert "returns a dict of 2" in done.stderr
    assert "--take 0" in done.stderr


def test_recordings_and_preprocessing(run_hqc, code, tmp_path):
    arguments = ("--data", NMNIST / "sample" / "5", "--preprocessing", "events")
    done = run_hqc("export", "my_code.py:make", "--input", "3,1,2,34,34", *arguments)
    assert done.returncode == 0, done.stderr
    (said,) = onnx.load(tmp_path / "model.onnx").metadata_props
    assert json.loads(said.value)["time_steps"] == 3


@needs_compiler
@pytest.mark.parametrize("shape", [(3, 1, 2, 8, 7), (1, 2, 8, 7)], ids=["frames", "image"])
def test_a_step_a_call(shape, run_hqc, code, tmp_path, rng):
    frames = rng.integers(0, 9, shape).astype(np.float32)
    np.save(tmp_path / "real.npy", frames)
    done = run_hqc("export", "my_code.py:Frame", "--example", "real.npy", "--time-steps", "3")
    assert done.returncode == 0, done.stderr
    names = {n.name for n in onnx.load(tmp_path / "model.onnx").graph.node}
    assert not any(name.startswith("net.") for name in names)
    artifact = hqc.compile(tmp_path / "model.onnx", "host", tmp_path / "build")
    net = build_model(f"{code}:Frame")
    with torch.no_grad():
        steps = frames if len(shape) == 5 else [frames]
        expected = np.mean([net(torch.from_numpy(step)).numpy() for step in steps], 0)
    found = artifact.run(frames if len(shape) == 5 else np.repeat(frames[None], 3, 0))
    np.testing.assert_allclose(found, expected, atol=1e-2)


class Evil:
    def __reduce__(self):
        return (print, ("run!",))


REFUSED = {
    "code alone": (["my_code.py"], "does not say what makes the module"),
    "no code": (["none.py:make", *INPUT], "'none.py:make' is not FILE.py:FUNCTION"),
    "no name": (["my_code.py:other", *INPUT], "has no function 'other'"),
    "no package": (["no_such_package:make", *INPUT], "No module named 'no_such_package'"),
    "no module": (["my_code.py:number", *INPUT], "'my_code.py:number' gives int"),
    "fails": (["my_code.py:broken", *INPUT], "fails: ValueError: no such file"),
    "argument": (["my_code.py:make", *INPUT, "--arg", "depth=3"], "argument 'depth'"),
    "no argument": (["my_code.py:make", *INPUT, "--arg", "depth"], "'depth' is not KEY=VALUE"),
    "no shape": (["my_code.py:make"], "the shape of the input is not said"),
    "bad shape": (["my_code.py:make", "--input", "4,0,x"], "'4,0,x' is not e.g. 4,1,3,32,32"),
    "other shape": (["my_code.py:make", "--input", "3,1,5,8,7"], "fails on frames [3, 1, 5, 8, 7]"),
    "two shapes": (
        ["my_code.py:make", *INPUT, "--example", "other.npy"],
        "frames [2, 2] of float64 are not [3, 1, 2, 8, 7]",
    ),
    "time steps": (
        ["my_code.py:Frame", *INPUT, "--time-steps", "5"],
        "has 3 time steps, not the 5 that are asked for",
    ),
    "a tuple a step": (
        ["my_code.py:Net", *INPUT, "--time-steps", "3", "--arg", "twice=1"], "fails on frames",
    ),
    "float": (["my_code.py:make", *INPUT, "--float"], "--float is of the folder of a search"),
    "run": (["run/", *INPUT], "run is taken for the folder of a search"),
    "no checkpoint": (
        ["my_code.py:make", *INPUT, "--checkpoint", "none.pt"], "none.pt: No such file"
    ),
    "code in a checkpoint": (
        ["my_code.py:make", *INPUT, "--checkpoint", "evil.pt"],
        "does not run code in checkpoints",
    ),
    "strict": (["my_code.py:make", *INPUT, "--no-strict"], "--no-strict is of a checkpoint"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_mistakes_are_refused_in_a_message(name, run_hqc, code, tmp_path):
    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    np.save(tmp_path / "other.npy", np.ones((2, 2)))
    arguments, message = REFUSED[name]
    done = run_hqc("export", *arguments, "-o", "out.onnx")
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert not (tmp_path / "out.onnx").exists()
    assert "run!" not in done.stdout + done.stderr


def test_packages_that_are_missing_are_named_with_how_to_install_them(run_hqc, code, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "safetensors", None)
    done = run_hqc("export", "my_code.py:make", *INPUT, "--checkpoint", "weights.safetensors")
    assert done.returncode == 2
    assert "this needs safetensors" in done.stderr
    assert "pip install safetensors" in done.stderr


def test_doctor_says_what_each_way_in_needs(run_hqc, monkeypatch):
    def version(name):
        if name in INSTALLED_BY:
            raise PackageNotFoundError(name)
        return "1.0"

    from importlib.metadata import PackageNotFoundError

    from hqc.cli import doctor

    monkeypatch.setattr(doctor, "version", version)
    text = run_hqc("doctor").stdout.partition("Ways in")[2]
    for way, extra in (("NIR graphs", "nir"), ("torch modules", "train"), ("pictures", "train")):
        assert re.search(rf"{way}.* missing: .*pip install 'hqc\[{extra}\]'", text), way
    assert re.search("ONNX files.* nothing more is needed", text)
    rows = {r["name"]: r for r in json.loads(run_hqc("doctor", "--json").stdout)}
    assert rows["way in: NIR graphs, by hqc import"]["found"] is None
