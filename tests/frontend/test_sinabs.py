"""sinabs' layers, squeezed and not, against the library's own forward."""

from __future__ import annotations

import numpy as np
import pytest
import sinabs.layers as sl
import torch
from sinabs.activation import MaxSpike, MembraneReset, MembraneSubtract, MultiSpike, SingleSpike
from torch import nn

import hqc
from hqc.errors import UserError
from hqc.frontend.export import export
from hqc.frontend.neurons import with_own_neurons
from tests.conftest import needs_compiler
from tests.frontend.library_networks import CLASSES, T, built, frames


def lif(tau_mem=3.0, spike_threshold=0.3, spike_fn=SingleSpike, **settings):
    return sl.LIF(tau_mem, spike_threshold=spike_threshold, spike_fn=spike_fn, **settings)


def iaf(spike_threshold=0.7, **settings):
    return sl.IAF(spike_threshold=spike_threshold, spike_fn=SingleSpike, **settings)


def lif_squeeze(num_timesteps=None, batch_size=1, **settings):
    return sl.LIFSqueeze(
        num_timesteps=num_timesteps,
        batch_size=batch_size,
        tau_mem=4.0,
        spike_threshold=0.1,
        spike_fn=SingleSpike,
        **settings,
    )


def iaf_squeeze(**settings):
    return sl.IAFSqueeze(batch_size=1, spike_threshold=0.7, spike_fn=SingleSpike, **settings)


class Net(nn.Module):
    """Two convolutions and a linear layer over batch and time, [N, T, ...]."""

    def __init__(self, make):
        super().__init__()
        self.conv1, self.conv2 = (
            sl.Repeat(nn.Sequential(conv, nn.MaxPool2d(2)))
            for conv in (nn.Conv2d(1, 7, 5), nn.Conv2d(7, 13, 3))
        )
        self.head = nn.Linear(13 * 2 * 2, CLASSES)
        self.lif1, self.lif2, self.lif3 = (make() for _ in range(3))

    def forward(self, x):
        x = self.lif2(self.conv2(self.lif1(self.conv1(x.transpose(0, 1)))))
        return self.lif3(self.head(x.flatten(2))).sum(1)


class Squeezed(nn.Module):
    """Layers in a row, as sinabs converts networks, over batch and time in one axis."""

    def __init__(self, make, pool=nn.AvgPool2d):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 7, 5), make(), pool(2), nn.Conv2d(7, 9, 3), make(), nn.Flatten(),
            nn.Linear(9 * 16, CLASSES), make(),
        )  # fmt: skip

    def forward(self, x):
        return self.net(x.flatten(0, 1)).sum(0)


def learned():
    """Settings that training would change."""
    node = lif(tau_mem=3.0, train_alphas=True)
    node.alpha_mem.data.fill_(0.6)
    return node


NETS = {
    "subtract": lambda: Net(lif),
    "subtract another": lambda: Net(lambda: lif(reset_fn=MembraneSubtract(0.4))),
    "zero": lambda: Net(lambda: lif(reset_fn=MembraneReset())),
    "input as it is": lambda: Net(lambda: lif(norm_input=False, spike_threshold=0.8)),
    "alphas": lambda: Net(learned),
    "slow": lambda: Net(lambda: lif(tau_mem=25.0, spike_threshold=0.05)),
    "one at most": lambda: Net(lambda: lif(spike_fn=MaxSpike(1))),
    "integrate": lambda: Net(iaf),
    "integrate, zero": lambda: Net(lambda: iaf(reset_fn=MembraneReset())),
    "squeeze": lambda: Squeezed(lif_squeeze),
    "squeeze by steps": lambda: Squeezed(lambda: lif_squeeze(T, None)),
    "squeeze, zero": lambda: Squeezed(lambda: lif_squeeze(reset_fn=MembraneReset())),
    "squeeze, integrate": lambda: Squeezed(iaf_squeeze),
    "squeeze, sums": lambda: Squeezed(iaf_squeeze, sl.SumPool2d),
}


def library(net, x):
    """What the library computes, from rest."""
    for layer in net.modules():
        if isinstance(layer, sl.StatefulLayer):
            layer.reset_states()
    with torch.no_grad():
        return net(x).numpy()


@needs_compiler
@pytest.mark.parametrize("name", NETS)
def test_compiled_spikes_are_the_librarys(name, tmp_path):
    net, path = built(NETS[name]), tmp_path / "model.onnx"
    model = export(net, frames(0), path)
    names = [node.name for node in model.graph if node.op_type == "LIF"]
    squeezed = isinstance(net, Squeezed)
    assert names == (["net.1", "net.4", "net.7"] if squeezed else ["lif1", "lif2", "lif3"])
    artifact = hqc.compile(path, target="host", output=tmp_path / "build")
    counts = []
    for seed in range(16):
        counts.append(library(net, frames(seed)))
        found = artifact.run(frames(seed).numpy()).reshape(counts[-1].shape)
        np.testing.assert_allclose(found, counts[-1], atol=1e-6)
    assert np.std(counts, 0).max() > 0.1


class Small(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.lif = make()

    def forward(self, x):
        return self.lif(x.transpose(0, 1)[:, :, :, 0, :3]).sum(1)


def own_reset(spikes, state, threshold):
    return state


REFUSED = {
    "several": (lambda: sl.LIF(3.0), r"may fire several times in a time step \(MultiSpike\)"),
    "at most two": (lambda: lif(spike_fn=MaxSpike(2)), r"several times in a time step \(MaxSpike"),
    "integrate": (lambda: sl.IAF(spike_fn=MultiSpike), "may fire several times"),
    "bounded": (lambda: lif(min_v_mem=-1.0), "min_v_mem is set"),
    "current": (lambda: lif(tau_syn=2.0), "tau_syn is set"),
    "learned current": (lambda: lif(tau_syn=2.0, train_alphas=True), "alpha_syn is set"),
    "threshold": (lambda: lif(spike_threshold=0.0), "spike_threshold is 0"),
    "many": (lambda: lif(tau_mem=torch.rand(3) + 1), "alpha_mem has 3 values"),
    "reset": (lambda: lif(reset_fn=own_reset), "its reset_fn is function"),
    "reset to": (lambda: lif(reset_fn=MembraneReset(-0.5)), "its reset_value is -0.5, which"),
    "infinite": (lambda: lif(tau_mem=float("inf")), "norm_input is set with an infinite tau_mem"),
    "adaptive": (lambda: sl.ALIF(3.0, 2.0), r"no sinabs\S*\.ALIF"),
    "leak": (lambda: sl.ExpLeak(3.0), r"no sinabs\S*\.ExpLeak"),
    "recurrent": (lambda: sl.LIFRecurrent(3.0, nn.Flatten()), r"no sinabs\S*\.LIFRecurrent"),
}


def growing():
    node = learned()
    node.alpha_mem.data.fill_(1.5)
    return node


REFUSED["growing"] = (growing, "alpha_mem is 1.5")


@pytest.mark.parametrize("name", REFUSED)
def test_other_neurons_are_refused(name, tmp_path):
    make, message = REFUSED[name]
    with pytest.raises(UserError, match=rf"layer 'lif': .*{message}"):
        export(Small(make), frames(0), tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_several_recordings_in_an_axis_are_refused(tmp_path):
    net = built(lambda: Squeezed(lambda: lif_squeeze(T // 2, None)))
    with pytest.raises(UserError, match=r"'net.1': batch_size is -1 and num_timesteps 3") as raised:
        export(net, frames(0), tmp_path / "model.onnx")
    assert "set_batch_size" in raised.value.hint


def test_the_module_keeps_its_state(tmp_path):
    net = built(lambda: Net(lif))
    net(frames(1))
    before = net.lif1.v_mem.clone()
    export(net, frames(0), tmp_path / "model.onnx")
    assert torch.equal(net.lif1.v_mem, before)


def test_training_wants_time_first():
    with pytest.raises(UserError, match="layer 'lif1' takes batch before time") as raised:
        with_own_neurons(Net(lif))
    assert "hqc.models.lif.LIF" in raised.value.hint
