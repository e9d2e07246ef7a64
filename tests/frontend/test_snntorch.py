"""snnTorch's networks, as its tutorials write them, against the library's own forward."""

from __future__ import annotations

import numpy as np
import pytest
import snntorch as snn
import torch
from snntorch import surrogate, utils
from torch import nn

import hqc
from hqc.errors import UserError
from hqc.frontend.export import export
from hqc.frontend.neurons import with_own_neurons
from hqc.models.lif import LIF
from tests.conftest import needs_compiler
from tests.frontend.library_networks import CLASSES, frames


class Net(nn.Module):
    """Two convolutions and a linear layer, each with neurons, whose potentials are handed on."""

    def __init__(self, make=snn.Leaky, betas=(0.9, 0.5, 1.0), **settings):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 12, 5), nn.Conv2d(12, 20, 3)
        self.head = nn.Linear(20 * 2 * 2, CLASSES)
        self.lif1, self.lif2, self.lif3 = (
            make(beta=beta, threshold=level, **settings)
            for beta, level in zip(betas, (0.3, 0.1, 0.05), strict=True)
        )

    def forward(self, x):
        mem1, mem2, mem3 = (lif.reset_mem() for lif in (self.lif1, self.lif2, self.lif3))
        spikes, potentials = [], []
        for step in x:
            spk1, mem1 = self.lif1(nn.functional.max_pool2d(self.conv1(step), 2), mem1)
            spk2, mem2 = self.lif2(nn.functional.max_pool2d(self.conv2(spk1), 2), mem2)
            spk3, mem3 = self.lif3(self.head(spk2.flatten(1)), mem3)
            spikes.append(spk3)
            potentials.append(mem3)
        return torch.stack(spikes), torch.stack(potentials)


class Currents(Net):
    """Neurons that keep a current too, and hand both on."""

    def __init__(self, **settings):
        super().__init__(lambda **own: snn.Synaptic(0.7, **own), **settings)

    def forward(self, x):
        states = [lif.reset_mem() for lif in (self.lif1, self.lif2, self.lif3)]
        spikes = []
        for step in x:
            s, *states[0] = self.lif1(nn.functional.max_pool2d(self.conv1(step), 2), *states[0])
            s, *states[1] = self.lif2(nn.functional.max_pool2d(self.conv2(s), 2), *states[1])
            s, *states[2] = self.lif3(self.head(s.flatten(1)), *states[2])
            spikes.append(s)
        return torch.stack(spikes), states


class Hidden(nn.Module):
    """Layers in a row that keep their potentials themselves, as the tutorials' nn.Sequential."""

    def __init__(self, make=snn.Leaky):
        super().__init__()
        settings = {"init_hidden": True, "spike_grad": surrogate.fast_sigmoid(slope=25)}
        self.net = nn.Sequential(
            nn.Conv2d(1, 12, 5),
            nn.MaxPool2d(2),
            make(beta=0.5, threshold=0.2, **settings),
            nn.Flatten(),
            nn.Linear(12 * 6 * 6, CLASSES),
            make(beta=0.7, threshold=0.1, output=True, **settings),
        )

    def forward(self, x):
        utils.reset(self.net)
        return torch.stack([self.net(step)[0] for step in x]).sum(0)


def built(make, seed=0):
    torch.manual_seed(seed)
    return make().eval()


SETTINGS = {
    "subtract": {},
    "zero": {"reset_mechanism": "zero"},
    "zero at once": {"reset_mechanism": "zero", "reset_delay": False},
    "none": {"reset_mechanism": "none"},
    "learned": {"learn_beta": True, "learn_threshold": True},
    "lapicque": {"make": snn.Lapicque, "betas": (0.9, 0.5, 0.8)},
}
NETS = {
    **{name: lambda settings=settings: Net(**settings) for name, settings in SETTINGS.items()},
    "currents": Currents,
    "currents, zero": lambda: Currents(reset_mechanism="zero", reset_delay=False),
    "currents, none": lambda: Currents(reset_mechanism="none"),
    "hidden": Hidden,
    "hidden currents": lambda: Hidden(lambda **settings: snn.Synaptic(0.6, **settings)),
}


@needs_compiler
@pytest.mark.parametrize("name", NETS)
def test_compiled_spikes_are_the_librarys(name, tmp_path):
    net = built(NETS[name])
    hidden = isinstance(net, Hidden)
    path = tmp_path / "model.onnx"
    model = export(net, frames(0), path, output=None if hidden else 0)
    names = [node.name for node in model.graph if node.op_type == "LIF"]
    assert names == (["net.2", "net.5"] if hidden else ["lif1", "lif2", "lif3"])
    assert hqc.verify(path, "host").ok
    artifact = hqc.compile(path, target="host", output=tmp_path / "build")
    counts = []
    for seed in range(16):
        with torch.no_grad():
            expected = net(frames(seed)) if hidden else net(frames(seed))[0]
        found = artifact.run(frames(seed).numpy()).reshape(expected.shape)
        counts.append(expected.numpy())
        np.testing.assert_allclose(found, counts[-1], atol=1e-6)
    assert np.std(counts, 0).max() > 0.2


def test_potentials_of_another_step_are_refused(tmp_path):
    class Halved(Net):
        def forward(self, x):
            mem = self.lif1.reset_mem()
            for step in x:
                spikes, mem = self.lif1(self.conv1(step), mem)
                mem = mem / 2
            return spikes

    with pytest.raises(UserError, match="'lif1' begins with potentials that are set"):
        export(built(Halved), frames(0), tmp_path / "model.onnx")


def test_reading_potentials_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(UserError, match="layer 'lif3': its membrane potentials are read") as raised:
        export(built(Net), frames(0), path, output=1)
    assert "return spikes" in raised.value.hint
    with pytest.raises(UserError, match="returns a tuple of 2, not one tensor") as raised:
        export(built(Net), frames(0), path)
    assert "output=0" in raised.value.hint
    with pytest.raises(UserError, match="a tuple of 2, without an output 'spikes'"):
        export(built(Net), frames(0), path, output="spikes")
    assert not path.exists()


REFUSED = {
    "Alpha": (lambda: snn.Alpha(alpha=0.9, beta=0.8), r"no snntorch\S*\.Alpha"),
    "Synaptic": (
        lambda: snn.Synaptic(0.9, 0.8, reset_mechanism="zero"),
        "loses the current of the step after",
    ),
    "many currents": (lambda: snn.Synaptic(torch.rand(3), 0.8), "alpha has 3 values"),
    "delay": (lambda: snn.Leaky(0.9, reset_delay=False), "reset_delay is False"),
    "nothing kept": (lambda: snn.Leaky(beta=0.0), "beta is 0, with reset_mechanism"),
    "inhibition": (lambda: snn.Leaky(0.9, inhibition=True), "inhibition is set"),
    "graded": (lambda: snn.Leaky(0.9, graded_spikes_factor=2.0), "its spikes are 2, not 1"),
    "many": (lambda: snn.Leaky(torch.rand(3)), "beta has 3 values"),
    "threshold": (lambda: snn.Leaky(0.9, threshold=0.0), "threshold is 0"),
    "surrogate": (lambda: snn.Leaky(0.9, spike_grad=torch.sigmoid), "no step at 0"),
    "lapicque": (
        lambda: snn.Lapicque(0.9, reset_mechanism="zero"),
        "loses the input of the step after",
    ),
    "fast": (lambda: snn.Lapicque(R=0.5, C=1.0), r"R \* C / time_step is 0.5"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore:Inhibition is an unstable feature")
def test_other_neurons_are_refused(name, tmp_path):
    make, message = REFUSED[name]

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.lif = make()

        def forward(self, x):
            return self.lif(x[0, :, :, 0, :3])[0]

    with pytest.raises(UserError, match=rf"layer 'lif': .*{message}"):
        export(Small(), frames(0), tmp_path / "model.onnx")


def test_training_takes_all_steps_at_once():
    with pytest.raises(UserError, match="layer 'lif1' takes one time step a call") as raised:
        with_own_neurons(Net())
    assert "hqc.models.lif.LIF" in raised.value.hint


def test_reset_by_subtraction_leaks_nothing_of_what_it_takes():
    """On potentials at their threshold exactly, and far above it."""
    x = torch.tensor([[0.5, 1.0, 3.0], [0.5, 0.0, 0.0], [0.5, 0.0, 0.0], [0.5, 0.25, 0.0]])
    theirs = snn.Leaky(beta=0.5, threshold=1.0)
    mem, expected = theirs.reset_mem(), []
    for step in x:
        spikes, mem = theirs(step, mem)
        expected.append(spikes)
    above = float(np.nextafter(np.float32(1), np.float32(2)))
    ours = LIF(2.0, above, None, decay_input=False, drop=2.0)
    assert torch.equal(ours(x), torch.stack(expected))
