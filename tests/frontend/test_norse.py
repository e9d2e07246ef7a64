"""Norse's networks, cells and layers of all time steps, against the library's own forward."""

from __future__ import annotations

import norse.torch as norse
import numpy as np
import pytest
import torch
from norse.torch.functional.lif_box import LIFBoxFeedForwardState
from norse.torch.functional.reset import reset_subtract
from norse.torch.module import snn
from torch import nn

import hqc
from hqc.errors import UserError
from hqc.frontend.export import export
from hqc.frontend.neurons import with_own_neurons
from tests.conftest import needs_compiler

T, CLASSES = 6, 10


def value(x):
    return torch.tensor(float(x))


def box(rate=500.0, v_th=0.3, dt=0.001, **settings):
    settings = {k: value(v) if isinstance(v, float) else v for k, v in settings.items()}
    return norse.LIFBoxCell(
        norse.LIFBoxParameters(tau_mem_inv=value(rate), v_th=value(v_th), **settings), dt=dt
    )


def lif(make=norse.LIFCell, **settings):
    given = {"tau_syn_inv": 1000.0, "tau_mem_inv": 300.0, "v_th": 0.2, **settings}
    return make(norse.LIFParameters(**{k: value(v) for k, v in given.items()}))


def iaf(make=norse.IAFCell, v_th=0.5, v_reset=0.0):
    return make(norse.IAFParameters(v_th=value(v_th), v_reset=value(v_reset)))


class Net(nn.Module):
    """Two convolutions and a linear layer of cells, whose states are handed on."""

    def __init__(self, make, start=None):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 7, 5), nn.Conv2d(7, 13, 3)
        self.head = nn.Linear(13 * 2 * 2, CLASSES)
        self.lif1, self.lif2, self.lif3 = (make() for _ in range(3))
        self._start = start

    def forward(self, x):
        state1 = self._start and self._start()
        state2 = state3 = None
        count = 0
        for step in x:
            spk1, state1 = self.lif1(nn.functional.max_pool2d(self.conv1(step), 2), state1)
            spk2, state2 = self.lif2(nn.functional.max_pool2d(self.conv2(spk1), 2), state2)
            spk3, state3 = self.lif3(self.head(spk2.flatten(1)), state3)
            count = count + spk3
        return count


class Whole(nn.Module):
    """Layers of all time steps in Norse's own sequence."""

    def __init__(self, make):
        super().__init__()
        self.net = norse.SequentialState(
            norse.Lift(nn.Conv2d(1, 7, 5)), make(), nn.Flatten(2), nn.Linear(7 * 144, 11), make()
        )

    def forward(self, x):
        return self.net(x)[0].mean(0)


class Stepped(Whole):
    """Norse's own sequence, called once a time step."""

    def __init__(self, make):
        super().__init__(make)
        self.net = norse.SequentialState(
            nn.Conv2d(1, 7, 5), make(), nn.Flatten(), nn.Linear(7 * 144, 11), make()
        )

    def forward(self, x):
        state, count = None, 0
        for step in x:
            spikes, state = self.net(step, state)
            count = count + spikes
        return count


NETS = {
    "box": lambda: Net(box),
    "slow": lambda: Net(lambda: box(rate=130.0, v_th=0.11)),
    "nothing kept": lambda: Net(lambda: box(rate=1000.0)),
    "coarse steps": lambda: Net(lambda: box(rate=70.0, dt=0.007)),
    "subtract": lambda: Net(lambda: box(reset_method=reset_subtract, v_th=0.15)),
    "leak": lambda: Net(lambda: box(v_leak=-0.25, v_reset=-0.25, v_th=0.05)),
    "below the leak": lambda: Net(lambda: box(v_leak=0.1, v_reset=-0.2, v_th=0.3)),
    "subtract with a leak": lambda: Net(
        lambda: box(v_leak=0.1, reset_method=reset_subtract, v_th=0.3)
    ),
    "heaviside": lambda: Net(lambda: box(method="heaviside")),
    "start": lambda: Net(box, lambda: LIFBoxFeedForwardState(v=torch.zeros(1, 7, 6, 6))),
    "current of a step": lambda: Net(lif),
    "integrate": lambda: Net(iaf),
    "integrate from below": lambda: Net(lambda: iaf(v_reset=-0.2, v_th=0.2)),
    "sequence": lambda: Stepped(box),
    "all steps, integrate": lambda: Whole(lambda: iaf(norse.IAF)),
    "all steps": lambda: Whole(lambda: lif(norse.LIF)),
}


def built(make, seed=0):
    """With weights that are large enough for all layers to fire."""
    torch.manual_seed(seed)
    net = make().eval()
    for name, parameter in net.named_parameters():
        if name.endswith("weight"):
            parameter.data *= 3
    return net


def frames(seed):
    whole = torch.randint(0, 256, (T, 1, 1, 16, 16), generator=torch.manual_seed(seed))
    return whole.float() / 255


@needs_compiler
@pytest.mark.parametrize("name", NETS)
def test_compiled_spikes_are_the_librarys(name, tmp_path):
    net, path = built(NETS[name]), tmp_path / "model.onnx"
    model = export(net, frames(0), path)
    names = [node.name for node in model.graph if node.op_type == "LIF"]
    layers = ["net.1", "net.4"] if isinstance(net, Whole) else ["lif1", "lif2", "lif3"]
    assert names == layers
    artifact = hqc.compile(path, target="host", output=tmp_path / "build")
    counts = []
    for seed in range(16):
        with torch.no_grad():
            counts.append(net(frames(seed)).numpy())
        found = artifact.run(frames(seed).numpy()).reshape(counts[-1].shape)
        np.testing.assert_allclose(found, counts[-1], atol=1e-6)
    assert np.std(counts, 0).max() > 0.1


class Small(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.lif = make()

    def forward(self, x):
        return self.lif(x[0, :, :, 0, :3])[0]


class Probed(Small):
    def forward(self, x):
        return self.lif(x[0, :, :, 0, :3])[1].v


class Halved(Net):
    def forward(self, x):
        state = None
        for step in x:
            spikes, state = self.lif1(self.conv1(step), state)
            state = LIFBoxFeedForwardState(v=state.v / 2)
        return spikes


def own_activation():
    return snn.SNNCell(lambda x, state, p, dt: (x, state), lambda x: None, None)


def changed_activation():
    node = box()
    node.activation = own_activation
    return node


REFUSED = {
    "current": (lambda: norse.LIFCell(), "its synaptic current keeps 0.8 of itself"),
    "recurrent": (lambda: norse.LIFRecurrentCell(3, 3), r"no norse\S*\.LIFRecurrentCell"),
    "adaptive": (lambda: norse.LIFAdExCell(), r"no norse\S*\.LIFAdExCell"),
    "integrator": (lambda: norse.LIBoxCell(), r"no norse\S*\.LIBoxCell"),
    "own": (own_activation, r"no norse\S*\.SNNCell"),
    "activation": (changed_activation, "its activation is own_activation"),
    "fast": (lambda: box(rate=2000.0), r"dt \* tau_mem_inv is 2"),
    "threshold": (lambda: box(v_th=-0.1), "v_th is -0.1, not above"),
    "reset above": (lambda: box(v_reset=0.4), "v_th is 0.3, not above"),
    "many": (
        lambda: norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=torch.rand(3))),
        "tau_mem_inv has 3 values",
    ),
    "reset": (lambda: box(reset_method=lambda z, v, r, th: v), "its reset_method is <lambda>"),
    "surrogate": (lambda: box(method="logistic"), "function logistic is, forward, no step"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_neurons_are_refused(name, tmp_path):
    make, message = REFUSED[name]
    with pytest.raises(UserError, match=rf"layer 'lif': .*{message}"):
        export(Small(make), frames(0), tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_recorded_states_are_refused(tmp_path):
    net = Whole(lambda: norse.LIF(norse.LIFParameters(tau_syn_inv=value(1000)), record_states=True))
    with pytest.raises(UserError, match=r"layer 'net.1': record_states is set"):
        export(net, frames(0), tmp_path / "model.onnx")


def test_potentials_are_neither_read_nor_set(tmp_path):
    with pytest.raises(UserError, match="'lif': its membrane potentials are read"):
        export(Probed(box), frames(0), tmp_path / "model.onnx")
    with pytest.raises(UserError, match="'lif1' begins with potentials that are set"):
        export(built(lambda: Halved(box)), frames(0), tmp_path / "model.onnx")


def test_training_takes_all_steps_at_once():
    with pytest.raises(UserError, match="layer 'lif1' takes one time step a call") as raised:
        with_own_neurons(Net(box))
    assert "hqc.models.lif.LIF" in raised.value.hint
    with pytest.raises(UserError, match=r"layer 'net.1' gives back a state besides spikes"):
        with_own_neurons(Whole(lambda: iaf(norse.IAF)))
