"""SpikingJelly's leaky integrators, simple neurons and neurons of several levels, as they are."""

from __future__ import annotations

import pytest
import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import nn

from hqc.errors import UserError
from hqc.frontend.export import export
from hqc.models.lif import LIF
from tests.frontend.compiled import compiles_to_what_it_does

T, C, H, W = 4, 8, 5, 6


class Net(nn.Module):
    """Frames [T, 1, 2, H, W] -> what a read-out makes of classes [T, 1, 10]."""

    def __init__(self, read_out, first=None, second=None):
        super().__init__()
        self.conv, self.first = nn.Conv2d(2, C, 3, padding=1), first or LIF(2.0, 0.1)
        self.conv2, self.second = nn.Conv2d(C, C, 3, padding=1), second or LIF(2.0, 0.05)
        self.fc, self.read_out = nn.Linear(C, 10), read_out

    def forward(self, x):
        x = self.first(self.conv(x.flatten(0, 1)).unflatten(0, (len(x), 1)))
        x = self.second(self.conv2(x.flatten(0, 1)).unflatten(0, (len(x), 1)))
        out = self.read_out(self.fc(x.mean((3, 4))))
        return torch.stack(out).mean(0) if isinstance(out, list) else out


def last(x):
    """What the last step gives."""
    return x[-1]


READ_OUTS = {
    **{str(d): neuron.NonSpikingLIFNode(3.0, d) for d in ("max-mem", "mean-mem", "last_mem", None)},
    "max-abs-mem": neuron.NonSpikingLIFNode(2.0, "max-abs-mem"),
    "IF": neuron.NonSpikingIFNode("last_mem"),
}
FIRING = {
    "simple": (neuron.SimpleLIFNode(2.0, True, 0.1), neuron.SimpleIFNode(0.2)),
    "levels": (
        neuron.ILIFNode(v_threshold=0.2),
        neuron.ILIFNode(3.0, 0.1, surrogate.MultiLevelSpikeCount(6)),
    ),
}


def check(net, path):
    """On random frames, in all time steps at once."""
    functional.set_step_mode(net, "m")
    frames = [torch.randint(0, 6, (T, 1, 2, H, W)) / 5 for _ in range(4)]
    compiles_to_what_it_does(net, frames, path)


@pytest.mark.parametrize("read_out", READ_OUTS)
def test_potentials_are_read_out_as_the_module_does(read_out, tmp_path):
    torch.manual_seed(0)
    check(Net(READ_OUTS[read_out]), tmp_path)


@pytest.mark.parametrize("nodes", FIRING)
def test_other_neurons_fire_as_the_modules_do(nodes, tmp_path):
    torch.manual_seed(0)
    check(Net(last, *FIRING[nodes]), tmp_path)


def test_neurons_of_several_levels_that_take_a_step_a_call_are_refused(tmp_path):
    node = neuron.ILIFNode(step_mode="s")
    with pytest.raises(UserError, match="layer 'first' takes one time step a call") as error:
        export(Net(last, node).eval(), torch.rand(T, 1, 2, H, W), tmp_path / "net.onnx")
    assert "set_step_mode" in error.value.hint
