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
    for _ in range(3):
        model.train()(frames(8))
        functional.reset_net(model)
    return model


def frames(n):
    return torch.poisson(torch.full((T, n, 2, 8, 8), 0.6))


def test_our_neurons_fire_as_theirs(network):
    x = frames(5)
    with torch.no_grad():
        theirs = network.eval()(x)
        ours = with_own_neurons(network)(x)
        again = network(x)
    torch.testing.assert_close(ours, theirs)
    assert torch.equal(ours, again)


def test_it_exports_and_compiles(network, tmp_path):
    apply_recipe(network, {"head": "8u", "*": "4u"})
    x = frames(1)
    with torch.no_grad():
        expected = network.eval()(x)
    functional.reset_net(network)
    model = export(network, x, tmp_path / "model.onnx")
    logits = run_reference(model, {"frames": x.numpy()})[0]
    np.testing.assert_allclose(logits, expected.numpy(), atol=1e-5)
    assert isinstance(network.features[2], neuron.LIFNode)
    assert verify(tmp_path / "model.onnx", "host").ok


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
        (neuron.LIFNode(step_mode="s"), "single-step mode"),
    ],
)
def test_what_cannot_be_compiled_is_named(node, message):
    with pytest.raises(UnsupportedModelError, match=f"layer '1'.*{message}"):
        with_own_neurons(nn.Sequential(nn.Linear(2, 2), node))
