"""Networks of SpikingJelly's layers and neurons: the same spikes, searched and compiled."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from hqc.data.task import Task
from hqc.errors import UnsupportedModelError
from hqc.frontend.export import export
from hqc.frontend.neurons import with_own_neurons
from hqc.quantize import QuantUniform, apply_recipe
from hqc.reference import run_reference
from hqc.search.method import Options, find_method
from hqc.search.run_folder import RunFolder
from hqc.verification import verify
from tests.exact_numbers import with_exact_numbers

T = 4


class Network(nn.Module):
    """As its tutorials write them: layers in multi-step mode, a hard, a soft and a learned node."""

    def __init__(self):
        super().__init__()
        self.quant = QuantUniform(8, signed=False)
        self.features = nn.Sequential(
            layer.Conv2d(2, 8, 3, padding=1, bias=False, step_mode="m"),
            layer.BatchNorm2d(8, step_mode="m"),
            neuron.LIFNode(tau=2.0, detach_reset=True, step_mode="m"),
            layer.MaxPool2d(2, step_mode="m"),
            layer.Conv2d(8, 16, 3, padding=1, bias=False, step_mode="m"),
            layer.BatchNorm2d(16, step_mode="m"),
            neuron.ParametricLIFNode(init_tau=2.0, v_reset=None, step_mode="m"),
            layer.Conv2d(16, 16, 1, step_mode="m"),
            neuron.IFNode(v_threshold=0.5, step_mode="m"),
        )
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.features(self.quant(x)).mean((0, 3, 4)))


@pytest.fixture
def network():
    torch.manual_seed(0)
    model = Network()
    for norm in (model.features[1], model.features[5]):
        nn.init.constant_(norm.weight, 2.0)
        nn.init.constant_(norm.bias, 0.5)
    for _ in range(3):
        model.train()(frames(8))
        functional.reset_net(model)
    return with_exact_numbers(model)


def frames(n):
    return torch.poisson(torch.full((T, n, 2, 8, 8), 0.6))


NEURONS = (2, 6, 8)


def spikes(model, x):
    """The spikes of every layer of neurons, and the logits."""
    found = []
    hooks = [
        model.features[i].register_forward_hook(lambda _m, _x, y: found.append(y)) for i in NEURONS
    ]
    with torch.no_grad():
        found.append(model.eval()(x))
    for hook in hooks:
        hook.remove()
    return found


def test_our_neurons_fire_as_theirs(network):
    x = frames(5)
    theirs = spikes(network, x)
    ours = spikes(with_own_neurons(network), x)
    again = spikes(network, x)
    assert all(0.02 < layer.mean() < 0.8 for layer in theirs[:-1])
    for a, b, c in zip(theirs, ours, again, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(b, c)


def test_it_exports_and_compiles(network, tmp_path):
    with_exact_numbers(apply_recipe(network, {"head": "8u", "*": "4u"}))
    x = frames(1)
    with torch.no_grad():
        expected = network.eval()(x)
    functional.reset_net(network)
    model = export(network, x, tmp_path / "model.onnx")
    logits = run_reference(model, {"frames": x.numpy()})[0]
    np.testing.assert_allclose(logits, expected.numpy(), atol=1e-6)
    assert isinstance(network.features[2], neuron.LIFNode)
    found = verify(tmp_path / "model.onnx", "host")
    assert found.ok
    assert found.recordings == 5
    assert 0 == found.spikes_differ < found.spikes
    assert found.logits_error < 1e-6


def test_it_is_searched(network, tmp_path):
    x, y = frames(12).transpose(0, 1).byte(), torch.arange(12) % 3
    options = Options(float_epochs=1, search_epochs=1, train_epochs=1, batch=4)
    run = RunFolder(tmp_path / "run", {})
    result = find_method("spikehq")(with_own_neurons(network), Task((x, y), (x, y)), options, run)
    assert set(result["choices"]) == {"features.0", "features.4", "features.7", "head"}


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (neuron.QIFNode(step_mode="m"), r"no .*QIFNode among the neurons"),
        (neuron.LIFNode(step_mode="s"), "takes one time step a call"),
    ],
)
def test_what_cannot_be_compiled_is_named(node, message):
    with pytest.raises(UnsupportedModelError, match=f"layer '1'.*{message}"):
        with_own_neurons(nn.Sequential(nn.Linear(2, 2), node))
