"""Norse's networks, cells and layers of all time steps, against the library's own forward."""

from __future__ import annotations

import norse.torch as norse
import numpy as np
import pytest
import torch
from norse.torch.functional.lif import LIFFeedForwardState
from norse.torch.functional.lif_box import LIFBoxFeedForwardState
from norse.torch.functional.reset import reset_subtract
from norse.torch.module import snn
from torch import nn

import hqc
from hqc.errors import UserError
from hqc.frontend.export import export
from hqc.frontend.load import load_model
from hqc.frontend.neurons import with_own_neurons
from hqc.models.lif import LIF
from hqc.reference import run_reference
from tests.conftest import needs_compiler
from tests.frontend.compiled import compiles_to_what_it_does
from tests.frontend.library_networks import CLASSES, T, built, frames


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


class NumberEach(Net):
    """The last layer's neurons have settings of their own, all the same."""

    def __init__(self):
        super().__init__(lambda: lif(tau_syn_inv=200.0))
        given = {"tau_syn_inv": 200.0, "tau_mem_inv": 300.0, "v_th": 0.2, "v_leak": 0.0}
        self.lif3 = norse.LIFCell(
            norse.LIFParameters(**{k: torch.full((CLASSES,), v) for k, v in given.items()})
        )


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
    "current": lambda: Net(lambda: lif(tau_syn_inv=200.0)),
    "current that stays": lambda: Net(lambda: lif(tau_syn_inv=10.0, v_th=0.4)),
    "current and a leak": lambda: Net(lambda: lif(tau_syn_inv=400.0, v_leak=0.1)),
    "currents, sequence": lambda: Stepped(lambda: lif(tau_syn_inv=200.0)),
    "currents, all steps": lambda: Whole(lambda: lif(norse.LIF, tau_syn_inv=200.0)),
    "a number each": NumberEach,
    "integrate": lambda: Net(iaf),
    "integrate from below": lambda: Net(lambda: iaf(v_reset=-0.2, v_th=0.2)),
    "sequence": lambda: Stepped(box),
    "all steps, integrate": lambda: Whole(lambda: iaf(norse.IAF)),
    "all steps": lambda: Whole(lambda: lif(norse.LIF)),
}


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


class ReadOut(nn.Module):
    """Neurons of a current that lasts, and an integrator's potentials over time."""

    def __init__(self, integrator, read, linear=True):
        super().__init__()
        self.conv, self.lif = nn.Conv2d(1, 7, 5), lif(tau_syn_inv=200.0)
        self.head = nn.Linear(7 * 36, CLASSES) if linear else nn.Identity()
        self.integrator, self.read = integrator, read

    def forward(self, x):
        state = left = None
        potentials = []
        for step in x:
            spikes, state = self.lif(nn.functional.max_pool2d(self.conv(step), 2), state)
            v, left = self.integrator(self.head(spikes.flatten(1)), left)
            potentials.append(v)
        return self.read(torch.stack(potentials))


class WholeReadOut(ReadOut):
    """The same in layers of all steps."""

    def __init__(self, integrator, read):
        super().__init__(integrator, read)
        self.lif = LIF(3.0, 0.2)

    def forward(self, x):
        spikes = self.lif(self.conv(x.flatten(0, 1)).unflatten(0, (T, 1)))
        spikes = nn.functional.max_pool2d(spikes.flatten(0, 1), 2).flatten(1)
        return self.read(self.integrator(self.head(spikes).unsqueeze(1))[0])


def last(x):
    return x[-1]


def mean(x):
    return x.mean(0)


def highest(x):
    return x.amax(0)


def leaking(**settings):
    return norse.LIParameters(**{k: value(v) for k, v in settings.items()})


READ_OUTS = {
    "box": lambda read: ReadOut(norse.LIBoxCell(), read),
    "current": lambda read: ReadOut(norse.LICell(), read),
    "leak": lambda read: ReadOut(norse.LICell(leaking(v_leak=0.4)), read),
    "current of a step": lambda read: ReadOut(norse.LICell(leaking(tau_syn_inv=1000)), read),
    "linear": lambda read: ReadOut(norse.LILinearCell(7 * 36, CLASSES), read, linear=False),
    "all steps": lambda read: WholeReadOut(norse.LI(leaking(v_leak=-0.1)), read),
}


@needs_compiler
@pytest.mark.parametrize("read", [last, mean, highest])
@pytest.mark.parametrize("name", READ_OUTS)
def test_potentials_of_integrators_are_the_librarys(name, read, tmp_path):
    net = built(lambda: READ_OUTS[name](read))
    compiles_to_what_it_does(net, [frames(seed) for seed in range(4)], tmp_path)


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
    "current": (lambda: lif(tau_syn_inv=1500.0), r"dt \* tau_syn_inv is 1.5"),
    "recurrent": (lambda: norse.LIFRecurrentCell(3, 3), r"no norse\S*\.LIFRecurrentCell"),
    "adaptive": (lambda: norse.LIFAdExCell(), r"no norse\S*\.LIFAdExCell"),
    "integrator": (lambda: norse.LICell(leaking(tau_mem_inv=2500)), r"dt \* tau_mem_inv is 2.5"),
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


@pytest.mark.parametrize("make", [lif, lambda: lif(tau_syn_inv=200.0)])
def test_currents_are_not_set(make, tmp_path):
    """Whether they would last or not."""
    start = LIFFeedForwardState(v=torch.zeros(1, 7, 6, 6), i=torch.ones(1, 7, 6, 6))
    with pytest.raises(UserError, match="inputs of layer 'lif1' differ"):
        export(built(lambda: Net(make, lambda: start)), frames(0), tmp_path / "model.onnx")


def test_what_torch_exports_by_itself_is_raised(tmp_path):
    """Currents and neurons, written out step by step."""
    net, path = built(lambda: Net(lambda: lif(tau_syn_inv=200.0))), tmp_path / "stock.onnx"
    torch.onnx.export(net, (frames(0),), path, dynamo=True, opset_version=20, verbose=False)
    model = load_model(path)
    kinds = [node.op_type for node in model.graph]
    assert (kinds.count("LIF"), kinds.count("Conv")) == (3, 2)
    for seed in range(4):
        with torch.no_grad():
            expected = net(frames(seed)).numpy()
        given = {model.graph.inputs[0].name: frames(seed).numpy()}
        np.testing.assert_array_equal(run_reference(model, given)[0], expected)
        assert expected.any()


def test_a_current_may_be_read(tmp_path):
    class Current(Net):
        def forward(self, x):
            state = None
            for step in x:
                spikes, state = self.lif1(self.conv1(step), state)
            return (spikes + state.i).mean((2, 3))

    net = built(lambda: Current(lambda: lif(tau_syn_inv=200.0)))
    compiles_to_what_it_does(net, [frames(seed) for seed in range(4)], tmp_path)


def test_training_takes_all_steps_at_once():
    with pytest.raises(UserError, match="layer 'lif1' takes one time step a call") as raised:
        with_own_neurons(Net(box))
    assert "hqc.models.lif.LIF" in raised.value.hint
    with pytest.raises(UserError, match=r"layer 'net.1' gives back a state besides spikes"):
        with_own_neurons(Whole(lambda: iaf(norse.IAF)))
