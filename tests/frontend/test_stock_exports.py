"""Networks of other libraries through torch's own exporters, which know nothing of hqc."""

from __future__ import annotations

import logging
import sys
import warnings

import norse.torch as norse
import numpy as np
import onnx
import onnxoptimizer
import pytest
import snntorch
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from hqc.dialect import DIALECT
from hqc.frontend.load import load_model
from hqc.reference import ReferenceSession
from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "examples" / "published"))

from networks.model_zoo import zoo

T, SIZE = 3, 16
NODES = (neuron.BaseNode, snntorch.Leaky, norse.LIFCell, norse.LIFBoxCell)


def spikformer(steps=T):
    """SpikingJelly's, of two blocks; it repeats an image itself."""
    net = zoo("spikformer").Spikformer(
        T=steps, img_size_h=SIZE, img_size_w=SIZE, patch_size=4, in_channels=3, num_classes=10,
        embed_dims=32, num_heads=4, mlp_ratio=2.0, depths=2,
    )  # fmt: skip
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None
    functional.reset_net(net)
    with torch.no_grad():
        net(torch.rand(16, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)))
    return net


class Loop(nn.Module):
    """A network of one step, called for every step."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, image):
        total = self.net(image)[0]
        for _ in range(T - 1):
            total = total + self.net(image)[0]
        return total / T


class Convolutions(nn.Module):
    """Two convolutions and a classifier, of the neurons of a library that hands states on."""

    def __init__(self, make):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 8, 3)
        self.neurons1, self.neurons2 = make(), make()
        self.classes = nn.Linear(8 * 36, 10)
        for conv in (self.conv1, self.conv2):
            nn.init.normal_(conv.weight, 0, 0.5)

    def forward(self, frames):
        neurons = self.neurons1, self.neurons2
        one, two = (n.reset_mem() if isinstance(n, snntorch.Leaky) else None for n in neurons)
        total = 0
        for frame in frames:
            s, one = self.neurons1(nn.functional.max_pool2d(self.conv1(frame), 2), one)
            s, two = self.neurons2(self.conv2(s), two)
            total = total + self.classes(s.flatten(1))
        return total / len(frames)


class Written(nn.Module):
    """Neurons in a loop of the user's own."""

    def __init__(self):
        super().__init__()
        self.conv, self.classes = nn.Conv2d(2, 6, 3), nn.Linear(6 * 196, 10)
        nn.init.normal_(self.conv.weight, 0, 0.5)

    def forward(self, frames):
        v = torch.zeros(1, 6, 14, 14)
        rates = []
        for t in range(frames.shape[0]):
            v = v * 0.75 + self.conv(frames[t])
            s = (v >= 1.0).float()
            v = torch.where(v >= 1.0, torch.zeros_like(v), v)
            rates.append(self.classes(s.flatten(1)))
        return torch.stack(rates).mean(0)


class Layers(nn.Module):
    """SpikingJelly's layers, all steps at once."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            layer.Conv2d(2, 6, 3, bias=False), layer.BatchNorm2d(6),
            neuron.LIFNode(tau=1.5, decay_input=False, v_reset=None), layer.MaxPool2d(2),
            layer.Conv2d(6, 8, 3), neuron.ParametricLIFNode(v_threshold=0.5), layer.Flatten(),
            layer.Linear(8 * 25, 10), neuron.IFNode(v_threshold=0.25),
        )  # fmt: skip
        for part in (self.net[0], self.net[4]):
            nn.init.normal_(part.weight, 0, 0.5)
        functional.set_step_mode(self.net, "m")

    def forward(self, frames):
        return self.net(frames).mean(0)


def leaky(**how):
    return Convolutions(lambda: snntorch.Leaky(beta=0.8, **how))


FRAMES, IMAGE = (T, 1, 2, SIZE, SIZE), (1, 3, SIZE, SIZE)
DYNAMO = {"dynamo": True}


def traced(opset):
    return {"dynamo": False, "opset_version": opset}


CASES = {
    "spikingjelly-spikformer": (spikformer, IMAGE, DYNAMO),
    "spikingjelly-spikformer-in-a-loop": (lambda: Loop(spikformer(1)), IMAGE, DYNAMO),
    "spikingjelly-layers": (Layers, FRAMES, DYNAMO | {"opset_version": 22}),
    "snntorch": (leaky, FRAMES, DYNAMO),
    "snntorch-to-zero": (lambda: leaky(reset_mechanism="zero"), FRAMES, traced(11)),
    "norse-with-currents": (lambda: Convolutions(norse.LIFCell), FRAMES, traced(17)),
    "norse-without": (lambda: Convolutions(norse.LIFBoxCell), FRAMES, DYNAMO),
    "written-by-hand": (Written, FRAMES, traced(13)),
    "scripted": (lambda: torch.jit.script(Written()), FRAMES, traced(17)),
}


def at_rest(net):
    if any(isinstance(m, neuron.BaseNode) for m in net.modules()):
        functional.reset_net(net)


@pytest.mark.parametrize("case", CASES)
def test_every_layer_of_neurons_is_one_node(case, tmp_path):
    make, shape, how = CASES[case]
    torch.manual_seed(2)
    net = make().eval()
    x = torch.rand(shape, generator=torch.Generator().manual_seed(3)) * 1.5
    modules = [m for m in net.modules() if isinstance(m, NODES)]
    path = tmp_path / "net.onnx"
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        at_rest(net)
        torch.onnx.export(net, (x,), path, verbose=False, **how)
        at_rest(net)
        expected = net(x).numpy()
    model = load_model(path)
    found = [n for n in model.graph if (n.domain, n.op_type) == (DIALECT, "LIF")]
    assert len(found) == max(len(modules), 1)
    assert not [n for n in model.graph if n.op_type in ("Concat", "Greater", "GreaterOrEqual")]
    frames = model.graph.inputs[0]
    assert frames.shape.numpy()[:2] == (T, 1)
    steps = x.numpy() if shape is FRAMES else np.repeat(x.numpy()[None], T, 0)
    (logits,) = ReferenceSession(model).run({frames.name: steps.reshape(frames.shape.numpy())})
    np.testing.assert_allclose(logits.reshape(expected.shape), expected, atol=1e-4)
    assert np.ptp(expected) > 0.01


def test_a_batch_of_no_size_gets_one(tmp_path):
    path = tmp_path / "net.onnx"
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Layers().eval(), (torch.rand(T, 2, 2, SIZE, SIZE),), path, verbose=False,
            input_names=["frames"], dynamic_shapes={"frames": {1: torch.export.Dim("batch")}},
        )  # fmt: skip
    model = load_model(path, {"batch": 1})
    assert [n.op_type for n in model.graph if n.domain == DIALECT] == ["LIF"] * 3
    assert "Shape" not in [n.op_type for n in model.graph]


def test_a_file_that_an_optimizer_rewrote_is_the_same(tmp_path):
    path = tmp_path / "net.onnx"
    torch.manual_seed(2)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(leaky().eval(), (torch.rand(FRAMES),), path, verbose=False, **traced(17))
    plain, optimized = load_model(path), tmp_path / "optimized.onnx"
    onnx.save(onnxoptimizer.optimize(onnx.load(path)), optimized)
    frames = np.random.default_rng(5).uniform(0, 1.5, FRAMES).astype(np.float32)
    found = [
        ReferenceSession(m).run({m.graph.inputs[0].name: frames})[0]
        for m in (plain, load_model(optimized))
    ]
    np.testing.assert_allclose(*found, atol=1e-5)
