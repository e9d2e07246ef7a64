"""Torch modules become what they do, or are refused by the name of the layer that would not."""

from __future__ import annotations

import copy
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import base, functional, layer, monitor, neuron, surrogate
from torch import nn
from torch.nn import functional as F

import hqc
from hqc.errors import UnsupportedModelError, UserError
from hqc.frontend import export as export_file
from hqc.frontend.export import export
from hqc.frontend.neurons import with_own_neurons
from hqc.models.lif import LIF
from hqc.quantize import QuantUniform, apply_recipe
from hqc.reference import ReferenceSession

T = 3


def lif(**settings):
    return neuron.LIFNode(**{"step_mode": "m", **settings})


def frames(n=1):
    return torch.poisson(torch.full((T, n, 2, 7, 9), 0.8), torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Convolution, BatchNorm, a node, a head on its firing rates."""

    def __init__(self, node=None):
        super().__init__()
        self.quant = QuantUniform(8, signed=False)
        self.conv, self.bn = nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.lif = node or lif()
        self.head = nn.Linear(8, 5)
        nn.init.uniform_(self.bn.weight, 1.2, 2.2)

    def potentials(self, x):
        return self.bn(self.conv(self.quant(x).flatten(0, 1))).unflatten(0, x.shape[:2])

    def classes(self, spikes):
        return self.head(spikes.mean((0, 3, 4)))

    def forward(self, x):
        return self.classes(self.lif(self.potentials(x)))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def refused(module, tmp_path, message, example=None):
    """Export, which must raise an error that names what `message` says, and write nothing."""
    with pytest.raises(UserError, match=message) as error:
        export(module, frames() if example is None else example, tmp_path / "model.onnx")
    assert error.value.hint
    assert not any(tmp_path.iterdir())


NODES = {
    "hard reset below 0": lambda: lif(v_reset=-0.3),
    "hard reset above 0, input not decayed": lambda: lif(tau=3.0, v_reset=0.2, decay_input=False),
    "soft reset": lambda: lif(v_reset=None, v_threshold=0.7),
    "IF, reset below 0": lambda: neuron.IFNode(v_reset=-0.4, step_mode="m"),
    "IF, soft reset": lambda: neuron.IFNode(v_reset=None, step_mode="m"),
    "learned tau": lambda: neuron.ParametricLIFNode(init_tau=1.7, v_reset=-0.1, step_mode="m"),
    "learned threshold": lambda: changed(lif(), v_threshold=nn.Parameter(torch.tensor(0.6))),
    "threshold as a tensor of one number": lambda: changed(lif(), v_threshold=torch.ones(1, 1)),
    "ours with a learned threshold": lambda: LIF(v_threshold=nn.Parameter(torch.tensor(0.6))),
    "no leak": lambda: changed(lif(), tau=1.0),
    "class that changes nothing": lambda: Renamed(step_mode="m"),
    "surrogate": lambda: lif(surrogate_function=surrogate.PiecewiseLeakyReLU(), detach_reset=True),
    "potentials stored": lambda: lif(store_v_seq=True),
}


class Renamed(neuron.LIFNode):
    """Defaults and a helper of the user's own."""

    _version = 2
    name: str

    def __init__(self, step_mode):
        super().__init__(tau=1.5, v_threshold=0.8, v_reset=-0.2, step_mode=step_mode)

    def extra_repr(self):
        return f"renamed, {super().extra_repr()}"

    def rate(self, spikes):
        return spikes.mean()


def changed(node, **attributes):
    for name, value in attributes.items():
        setattr(node, name, value)
    return node


class AllNodes(nn.Module):
    """Every node of `NODES` side by side, each behind a convolution and BatchNorm of its own."""

    def __init__(self):
        super().__init__()
        self.quant = QuantUniform(8, signed=False)
        self.nodes = nn.ModuleList(make() for make in NODES.values())
        self.layers = nn.ModuleList(
            nn.Sequential(
                layer.Conv2d(2, 8, 3, padding=1, bias=False, step_mode="m"),
                layer.BatchNorm2d(8, step_mode="m"),
                node,
            )
            for node in self.nodes
        )
        for layers in self.layers:
            nn.init.constant_(layers[1].weight, 2.0)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.quant(x)
        return self.head(sum(layers(x) for layers in self.layers).mean((0, 3, 4)))


def test_every_node_compiles_to_what_it_does(tmp_path):
    model, x = AllNodes(), frames(8)
    with torch.no_grad():
        for _ in range(20):
            model.train()(x)
            functional.reset_net(model)
    apply_recipe(model, {"head": "8u", "*": "4u"}).eval()
    recordings = [x[:, i : i + 1] for i in range(x.shape[1])]
    written = export(model, recordings, tmp_path / "model.onnx")
    assert sum(node.op_type == "LIF" for node in written.graph) == len(NODES)
    for case, node in zip(NODES, model.nodes, strict=True):
        node.register_forward_hook(
            lambda _node, _x, spikes, case=case: rates.update({case: spikes.mean().item()})
        )
    rates, expected = {}, []
    for x_i in recordings:
        functional.reset_net(model)
        with torch.no_grad():
            expected.append(model(x_i).numpy())
        assert {case: rate for case, rate in rates.items() if not 0.05 < rate < 0.6} == {}
    assert set(rates) == set(NODES)
    session = ReferenceSession(written)
    artifact = hqc.compile(tmp_path / "model.onnx", output=tmp_path / "build")
    spread = np.std(expected, 0).max()
    for x_i, logits in zip(recordings, expected, strict=True):
        (found,) = session.run({"frames": x_i.numpy()})
        np.testing.assert_allclose(found, logits, atol=1e-4 * spread)
        np.testing.assert_allclose(artifact.run(x_i.numpy()), logits, atol=1e-2 * spread)


class OwnCharge(neuron.LIFNode):
    def multi_step_functional_forward(self, inputs, states, **_):
        return ((inputs[0] >= 1).float(),), states


class OwnThreshold(neuron.LIFNode):
    @property
    def v_threshold(self):
        return self.level

    @v_threshold.setter
    def v_threshold(self, value):
        self.level = value


class OwnForward(LIF):
    def forward(self, x):
        return super().forward(2 * x)


OwnNode = type("LIFNode", (OwnCharge,), {})


class OwnState(base.MemoryModule):
    def __init__(self):
        super().__init__()
        self.register_memory("v", 0.0)
        self.step_mode = "m"

    def single_step_forward(self, x):
        self.v = self.v + x
        return self.v


class Later(surrogate.ATan):
    def forward(self, x):
        return (x >= 0.3).to(x)


class Above(surrogate.ATan):
    """Fires above 0 only, which differs at 0 alone."""

    def forward(self, x):
        return (x > 0).to(x)


def started(node, value):
    node.set_reset_value("v", value)
    node.reset()
    return node


def hooked(node):
    node.register_forward_hook(lambda _node, _x, spikes: spikes * 0.5)
    return node


def pre_hooked(node):
    node.register_forward_pre_hook(lambda _node, x: (x[0] * 0.5,))
    return node


def replaced(node, method):
    was = getattr(node, method)
    setattr(node, method, lambda x: was(x * 0.5))
    return node


per_channel = torch.linspace(0.5, 1.5, 8).reshape(8, 1, 1)

CHANGED_NODES = {
    "method overridden": (lambda: OwnCharge(step_mode="m"), "multi_step_functional_forward"),
    "class of a known name": (lambda: OwnNode(step_mode="m"), "multi_step_functional_forward"),
    "setting overridden": (lambda: OwnThreshold(step_mode="m"), "its v_threshold is its own"),
    "ours overridden": (OwnForward, "no plain LIF: its forward is its own"),
    "own state": (OwnState, "no .*OwnState among"),
    "derived in the library": (lambda: neuron.SLTTLIFNode(), "no .*SLTTLIFNode among"),
    "other state": (lambda: layer.SynapseFilter(step_mode="m"), "no .*SynapseFilter among"),
    "other base": (lambda: neuron.QIFNode(step_mode="m"), "no .*QIFNode among"),
    "forward replaced": (lambda: replaced(lif(), "forward"), "its forward is its own"),
    "step replaced": (lambda: replaced(lif(), "multi_step_forward"), "multi_step_forward is its"),
    "later surrogate": (lambda: lif(surrogate_function=Later()), "Later is, forward, no step"),
    "surrogate above 0": (lambda: lif(surrogate_function=Above()), "Above is, forward, no step"),
    "no spikes": (lambda: lif(surrogate_function=surrogate.Sigmoid(spiking=False)), "no spikes"),
    "initial potential": (lambda: started(lif(), 0.5), "set to 0.5 at the start, not to 0"),
    "initial 0, reset below": (lambda: started(lif(v_reset=-1.0), 0.0), "0.0 at the start, not to"),
    "half threshold": (lambda: neuron.HalfThresholdIFNode(step_mode="m"), "no .*HalfThreshold"),
    "hook": (lambda: hooked(lif()), "has hooks"),
    "pre-hook": (lambda: pre_hooked(lif()), "has hooks"),
    "tau per channel": (
        lambda: changed(neuron.ParametricLIFNode(step_mode="m"), w=nn.Parameter(per_channel)),
        r"w has 8 values, shape \[8, 1, 1\]",
    ),
    "threshold per channel": (lambda: changed(lif(), v_threshold=per_channel), "v_threshold has 8"),
    "our threshold per channel": (lambda: LIF(v_threshold=per_channel), "v_threshold has 8"),
    "growing": (lambda: changed(lif(), tau=0.5), "tau is 0.5"),
    "threshold at the reset": (lambda: lif(v_threshold=0.5, v_reset=0.5), "not above the 0.5"),
    "no number": (lambda: lif(v_threshold=float("nan")), "v_threshold is nan"),
}


@pytest.mark.parametrize("case", CHANGED_NODES)
def test_a_node_that_does_something_else_is_refused_by_name(case, tmp_path):
    make, message = CHANGED_NODES[case]
    refused(Net(make()), tmp_path, f"layer 'lif'.*{message}")


class Twice(Net):
    def forward(self, x):
        return self.classes(self.lif(2 * self.lif(self.potentials(x))))


class TwoNames(Net):
    def __init__(self):
        super().__init__()
        self.again = self.lif

    def forward(self, x):
        return self.classes(self.again(2 * self.lif(self.potentials(x))))


class InAList(Net):
    def __init__(self):
        super().__init__(nn.Identity())
        self.block = nn.Module()
        self.block.nodes = [lif()]

    def forward(self, x):
        return self.classes(self.block.nodes[0](self.potentials(x)))


class NormInAList(Net):
    def __init__(self):
        super().__init__()
        self.norms = {"first": nn.BatchNorm3d(T)}

    def forward(self, x):
        y = self.potentials(x)
        return self.classes(self.lif(self.norms["first"](y[:, 0][None])[0][:, None]))


class Dropped(Net):
    def forward(self, x):
        return self.classes(F.dropout(self.lif(self.potentials(x)), 0.5))


class Reads(Net):
    def forward(self, x):
        self.lif(self.potentials(x))
        return self.head(self.lif.v.mean((2, 3)))


class Branches(Net):
    def forward(self, x):
        y = self.potentials(x)
        return self.classes(self.lif(y * 2 if y.mean() > 0 else y))


class ScalesByData(Net):
    def forward(self, x):
        y = self.potentials(x)
        return self.classes(self.lif(y / float(y.max())))


class Keeps(Net):
    def __init__(self):
        super().__init__()
        self.last = 0.0

    def forward(self, x):
        y = self.potentials(x)
        self.last = y.mean(0) + self.last
        return self.classes(self.lif(y + self.last))


class CallsMethods(Net):
    def forward(self, x):
        return self.classes(self.lif.forward(self.potentials(x)))


class CallsByKeyword(Net):
    def forward(self, x):
        return self.classes(self.lif(x_seq=self.potentials(x)))


class Mixed(Net):
    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x).float()


class Several(Net):
    def forward(self, x):
        return super().forward(x), x


MODULES = {
    Twice: "layer 'lif' is called again, .* carried over",
    TwoNames: "layer 'lif' is called again",
    InAList: "layer 'block.nodes', a LIFNode, is not registered",
    NormInAList: "layer 'norms', a BatchNorm3d, is in training",
    Dropped: "logits differ by up to",
    Reads: "LIF' object has no attribute 'v'",
    Branches: "torch cannot trace the module: GuardOnDataDependent",
    ScalesByData: "torch cannot trace the module as layers: 'lif' is no node",
    Keeps: "inputs of layer 'lif' differ by up to",
    CallsMethods: "not called as a layer",
    CallsByKeyword: "layer 'lif' is called with keywords",
    Mixed: "layer 'lif' is given torch.bfloat16",
    Several: "forward returns a tuple of 2",
    Net.double: "'quant.scale' of the module is torch.float64",
}


@pytest.mark.parametrize("make", MODULES, ids=lambda make: make.__name__)
def test_a_module_that_does_something_else_is_refused(make, tmp_path):
    module = Net().double() if make is Net.double else make()
    refused(module, tmp_path, MODULES[make])


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (frames().byte(), "an example is torch.uint8"),
        ([], "no example"),
        ([frames(), frames(2)], r"of shape \[3, 2, 2, 7, 9\]"),
    ],
)
def test_examples_are_frames_of_one_shape(example, message, tmp_path):
    with pytest.raises(UserError, match=message):
        export(Net(), example, tmp_path / "model.onnx")


class ResetBetween(Net):
    def forward(self, x):
        y = self.lif(self.potentials(x))
        functional.reset_net(self)
        return self.classes(y + self.lif(y * 2))


class Shared(Net):
    """Our neurons called twice under two names, beside a layer that is named as the second call."""

    def __init__(self):
        super().__init__(LIF())
        self.again, self.lif_2 = self.lif, LIF(tau=3.0)

    def forward(self, x):
        y = self.potentials(x)
        return self.classes(self.lif(y) + self.again(2 * y) + self.lif_2(3 * y))


class Drops(Net):
    """Layers that are an identity in evaluation, one of them with a state."""

    def __init__(self):
        super().__init__()
        self.drop, self.drop_2 = nn.Dropout(0.5), layer.Dropout2d(0.5, step_mode="m")

    def forward(self, x):
        return self.classes(self.drop_2(self.drop(self.lif(self.potentials(x)))))


class InPlace(Net):
    """Tensors that change after neurons took and gave them."""

    def forward(self, x):
        y = self.potentials(x)
        spikes = self.lif(y)
        z = self.classes(spikes.mul_(0.5))
        y.add_(1)
        return z


class Unused(Net):
    def __init__(self):
        super().__init__()
        self.aside = lif(tau=5.0)

    def forward(self, x):
        self.aside(self.potentials(x))
        return super().forward(x)


class Hooked(Net):
    """A hook on another layer, which tracing follows."""

    def __init__(self):
        super().__init__()
        self.conv.register_forward_hook(lambda _conv, _x, y: y * 0.7)


class HookedNeurons(Net):
    def __init__(self):
        super().__init__(LIF())
        self.lif.register_forward_hook(lambda _lif, _x, spikes: spikes * 0.7)
        self.lif.register_forward_pre_hook(lambda _lif, x: (x[0] * 0.7,))


@pytest.mark.parametrize(
    "make", [HookedNeurons, ResetBetween, Shared, Drops, InPlace, Unused, Hooked]
)
def test_a_module_that_looks_odd_is_exported_as_it_is(make, tmp_path):
    module, x = make(), frames()
    model = export(module, x, tmp_path / "model.onnx")
    functional.reset_net(module)
    with torch.no_grad():
        expected = module.eval()(x).numpy()
    (found,) = ReferenceSession(model).run({"frames": x.numpy()})
    np.testing.assert_allclose(found, expected, atol=1e-5)
    names = [node.name for node in model.graph]
    assert len(set(names)) == len(names)


def test_the_module_stays_as_it_was(tmp_path):
    """In training, with a monitor, a kept activation, and potentials of the last batch's graph."""

    class Caches(Net):
        def forward(self, x):
            self.kept = self.potentials(x)
            return self.classes(self.lif(self.kept))

    module = Caches(lif(v_reset=-0.2))
    watched = monitor.OutputMonitor(module, nn.BatchNorm2d)
    module.bn.eval()
    module(frames(4)).sum().backward()
    records = len(watched.records)
    before = {m: (dict(vars(m)), copy.copy(m._buffers)) for m in module.modules()}
    values = {k: v.clone() for k, v in module.state_dict().items()}
    potentials = module.lif.v.clone()
    export(module, frames(), tmp_path / "model.onnx")
    assert module.training
    assert not module.bn.training
    assert {m: (vars(m), m._buffers) for m in module.modules()} == before
    assert all(torch.equal(v, values[k]) for k, v in module.state_dict().items())
    assert torch.equal(module.lif.v, potentials)
    assert len(watched.records) > records
    with pytest.raises(UserError, match="layer 'lif'"):
        export(changed(module, lif=hooked(lif())), frames(), tmp_path / "model.onnx")
    assert module.training


def test_no_node_is_replaced_where_one_is_refused():
    model = nn.Sequential(lif(), neuron.QIFNode(step_mode="m"))
    with pytest.raises(UnsupportedModelError, match="layer '1'"):
        with_own_neurons(model)
    assert isinstance(model[0], neuron.LIFNode)


def test_a_node_alone_is_replaced_too():
    assert isinstance(with_own_neurons(lif()), LIF)


@pytest.mark.parametrize(
    ("file", "name", "change", "message"),
    [
        ("neurons", "a threshold", lambda n: changed(n, v_threshold=1.01), "spikes of layer 'lif'"),
        ("neurons", "a tau", lambda n: changed(n, tau=2.02), "spikes of layer 'lif'"),
        ("neurons", "a reset", lambda n: changed(n, v_reset=0.3), "spikes of layer 'lif'"),
        ("weights", "a weight", lambda w: w * 1.001, "inputs of layer 'lif' differ by"),
        ("bias", "a bias", lambda b: b + 1e-3, "logits differ by"),
    ],
)
def test_the_first_layer_that_is_exported_wrong_is_named(
    file, name, change, message, monkeypatch, tmp_path
):
    """What an exporter could get wrong is put in, and must be seen on one small example."""
    was = export_file._to_dialect

    def wrong(own, *arguments):
        with torch.no_grad():
            if file == "neurons":
                change(own.lif)
            elif file == "weights":
                own.conv.weight.copy_(change(own.conv.weight))
            else:
                own.head.bias.copy_(change(own.head.bias))
        return was(own, *arguments)

    monkeypatch.setattr(export_file, "_to_dialect", wrong)
    refused(Net(), tmp_path, f"does not do what the module does: .*{message}", 10 * frames())


def test_every_example_is_compared(tmp_path):
    class FourthTime(Net):
        calls = 0

        def forward(self, x):
            self.calls += not torch.compiler.is_exporting()
            y = self.potentials(x)
            return self.classes(self.lif(y if self.calls < 4 else 2 * y))

    export(FourthTime(), frames(), tmp_path / "model.onnx")
    (tmp_path / "model.onnx").unlink()
    refused(FourthTime(), tmp_path, "inputs of layer 'lif'", [frames(), frames()])


def test_nodes_of_the_older_package(monkeypatch):
    """Its LIFNode takes one time step a call, and has no step_mode that says so."""
    older = types.ModuleType("spikingjelly.clock_driven.neuron")
    older.LIFNode = type("LIFNode", (neuron.LIFNode,), {"__module__": older.__name__})
    older.MultiStepLIFNode = type(
        "MultiStepLIFNode", (older.LIFNode,), {"__module__": older.__name__}
    )
    monkeypatch.setitem(sys.modules, older.__name__, older)
    with pytest.raises(UserError, match="layer '' takes one time step a call"):
        with_own_neurons(older.LIFNode())
    assert with_own_neurons(older.MultiStepLIFNode(tau=3.0, step_mode="m")).tau == 3


def test_the_library_is_not_imported_for_others():
    code = """
import sys, torch
from torch import nn
from hqc.frontend.neurons import with_own_neurons
from hqc.models.lif import LIF
class LIFNode(nn.Module): pass
model = with_own_neurons(nn.Sequential(LIF(), LIFNode()))
assert isinstance(model[1], LIFNode)
assert not [name for name in sys.modules if name.startswith("spikingjelly")]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
