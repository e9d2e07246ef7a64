"""Every row of README's table of where models come from, typed as it stands there."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
import sys
import textwrap

import nir
import numpy as np
import pytest
import torch
from torch import nn

import hqc
from hqc.frontend.load import load_model
from tests.conftest import ROOT

T, C, H, W = 4, 2, 16, 16

NETWORK = """
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

def make_model():
    net = nn.Sequential(
        layer.Conv2d(2, 8, 3, padding=1), layer.BatchNorm2d(8), neuron.LIFNode(),
        layer.MaxPool2d(4), layer.Flatten(), layer.Linear(8 * 16, 10),
    )
    functional.set_step_mode(net, "m")
    return Mean(net)

class Mean(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, frames):
        return self.net(frames).mean(0)
"""


ROWS = re.findall(
    r"^\| .+ \| `(hqc (?:quantize|import|export) [^`]+)` \|", (ROOT / "README.md").read_text(), re.M
)


def typed(command, folder):
    """What a command of README says, typed in a folder."""
    program = "from hqc.cli import main; main()"
    arguments = [sys.executable, "-c", program, *shlex.split(command)[1:]]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class OneStep(nn.Module):
    """A layer of neurons whose potentials go in and come out."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(C, 4, 3, stride=4), nn.Linear(64, 10)

    def forward(self, frame, v):
        v = v + (self.conv(frame) * 4 - v) / 2
        spikes = (v >= 0.5).float()
        return self.fc(spikes.flatten(1)), v * (1 - spikes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the rows name: networks in every format, and recordings."""
    folder = tmp_path_factory.mktemp("ways")
    (folder / "calib").mkdir()
    rng = np.random.default_rng(1)
    for i in range(4):
        frames = rng.poisson(0.6, (T, 1, C, H, W)).astype(np.float32)
        np.save(folder / "calib" / f"{i}.npy", frames)
    (folder / "my_code.py").write_text(textwrap.dedent(NETWORK))
    scope: dict = {}
    exec(NETWORK, scope)
    torch.manual_seed(3)
    net = scope["make_model"]().eval()
    torch.save({"state_dict": net.state_dict()}, folder / "weights.pt")
    frames = torch.from_numpy(np.load(folder / "calib" / "0.npy"))
    torch.onnx.export(net, (frames,), folder / "float.onnx", verbose=False)
    step = frames[0], torch.zeros(1, 4, 4, 4)
    torch.onnx.export(OneStep().eval(), step, folder / "step.onnx", verbose=False)
    weight = rng.normal(size=(10, C * H * W)).astype(np.float32)
    ones = np.ones(10, np.float32)
    nodes = {
        "input": nir.Input(np.array([C, H, W])),
        "flat": nir.Flatten(np.array([C, H, W]), 0, -1),
        "fc": nir.Linear(weight),
        "if": nir.IF(ones, ones),
        "output": nir.Output(np.array([10])),
    }
    names = list(nodes)
    nir.write(folder / "network.nir", nir.NIRGraph(nodes, list(itertools.pairwise(names))))
    typed("hqc quantize float.onnx --bits 4 --data calib/ -o model.onnx", folder)
    for to in ("qdq", "qonnx"):
        typed(f"hqc convert model.onnx --to {to} -o {to}.onnx", folder)
    return folder


def test_all_ways_are_in_the_table():
    assert [row.split()[2] for row in ROWS] == [
        *("float.onnx", "step.onnx", "my_code.py:make_model"),
        *("network.nir", "qonnx.onnx", "qdq.onnx"),
    ]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split()[2])
def test_the_way_leads_to_code(row, folder):
    """The command works as it stands there; what it writes compiles, if need be once quantized."""
    typed(row, folder)
    written = folder / row.split()[-1]
    if row.split()[1] == "export":
        typed(f"hqc quantize {written.name} --bits 8 --data calib/ -o model.onnx", folder)
        written = folder / "model.onnx"
    neurons = [n for n in load_model(written).graph if n.op_type == "LIF"]
    assert len(neurons) == 1
    output = folder / f"build-{row.split()[2].partition('.')[0]}"
    typed(f"hqc compile {written.name} --target arm-a72 -o {output.name}", folder)
    assert (output / "model.json").exists() or list(output.glob("lib*.a"))
    assert hqc.verify(written).ok
