"""Networks that are written for one time step, and called in a loop over time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import hqc
from hqc.errors import UserError
from hqc.frontend.export import export
from hqc.frontend.load import load_model
from hqc.quantize import apply_recipe
from tests.conftest import needs_compiler

T, CLASSES = 4, 7


class Net(nn.Module):
    """A convolution, a residual block, a pool and a head, each with neurons, for one time step."""

    def __init__(self, loop):
        super().__init__()
        self.loop = loop
        self.conv1, self.norm1 = nn.Conv2d(3, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12)
        self.lif1, self.pool = neuron.LIFNode(v_threshold=0.3), nn.MaxPool2d(2)
        self.conv2, self.lif2 = nn.Conv2d(12, 12, 3, padding=1), neuron.IFNode(v_threshold=0.4)
        self.head, self.lif3 = nn.Linear(12 * 6, CLASSES), neuron.LIFNode(1.5, False, 0.2, None)

    def forward(self, x):
        return self.loop(self, x)

    def stem(self, x):
        return self.norm1(self.conv1(x))

    def rest(self, y):
        y = self.pool(self.lif1(y))
        return self.lif3(self.head((self.lif2(self.conv2(y)) + y).flatten(1)))

    def step(self, x):
        return self.rest(self.stem(x))


def summed(net, x):
    out = 0
    for _ in range(T):
        out += net.step(x)
    return out / T


def into_zeros(net, x):
    functional.reset_net(net)
    counts = torch.zeros(1, CLASSES)
    for t in range(T):
        counts = net.step(x[t]) + counts
    return counts


def unbound(net, x):
    out = None
    for frame in x.unbind(1):
        spikes = net.step(frame)
        out = spikes if out is None else out + spikes
    return out


def stem_once(net, x):
    y = net.stem(x)
    return sum(net.rest(y) for _ in range(T)) / T


def twice(net, x):
    """Of the neurons' second run, which begins at rest."""
    first = sum(net.step(x[t]) for t in range(T))
    functional.reset_net(net)
    return first + 0.5 * sum(net.step(x[T - 1 - t]) for t in range(T))


IMAGE, FRAMES, BATCH_FIRST = (1, 3, 4, 6), (T, 1, 3, 4, 6), (1, T, 3, 4, 6)
LOOPS = {
    "a sum of an image": (summed, IMAGE),
    "a sum into zeros": (into_zeros, FRAMES),
    "a sum over unbound frames": (unbound, BATCH_FIRST),
    "a stem, once": (stem_once, IMAGE),
    "stacked": (lambda net, x: torch.stack([net.step(x[t]) for t in range(T)]).mean(0), FRAMES),
    "stacked last": (
        lambda net, x: torch.stack([net.step(x[:, t]) for t in range(T)], -1).mean(-1),
        BATCH_FIRST,
    ),
}


def made(loop):
    torch.manual_seed(1)
    return Net(loop)


def compiled_as_its_own(net, shape, tmp_path):
    """Whether compiled logits are the module's own on two recordings, where all layers fire."""
    net = apply_recipe(net.eval(), {"*": "4u"})
    torch.manual_seed(2)
    frames = [torch.randint(0, 4, shape).float() for _ in range(2)]
    export(net, frames, tmp_path / "net.onnx", input_scale=1.0)
    assert hqc.verify(tmp_path / "net.onnx", "host").ok
    ops = [n.op_type for n in load_model(tmp_path / "net.onnx").graph]
    assert {op: ops.count(op) for op in ("Conv", "Gemm", "LIF")} == {"Conv": 2, "Gemm": 1, "LIF": 3}
    artifact = hqc.compile(tmp_path / "net.onnx", target="host", output=tmp_path / "build")
    logits = []
    for x in frames:
        functional.reset_net(net)
        with torch.no_grad():
            expected = net(x).numpy()
        given = x.expand(T, 3, 4, 6) if shape == IMAGE else x
        logits.append(artifact.run(given.reshape(T, 1, 3, 4, 6).numpy()).reshape(-1))
        np.testing.assert_allclose(logits[-1], expected.reshape(-1), atol=1e-5)
    assert not np.array_equal(*logits)


@needs_compiler
@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_over_time_is_one_layer(name, tmp_path):
    loop, shape = LOOPS[name]
    compiled_as_its_own(made(loop), shape, tmp_path)


class Contained(nn.Module):
    """Layers of one step in a container that calls them step by step."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.net = layer.MultiStepContainer(
            nn.Conv2d(3, 12, 3), neuron.LIFNode(v_threshold=0.3), nn.Flatten()
        )
        self.head = nn.Linear(12 * 8, CLASSES)

    def forward(self, x):
        return self.head(self.net(x)).mean(0)


class Chunks(nn.Module):
    """Neurons over all steps, which are given half of them at a time."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.lif = layer.Conv2d(3, 12, 3), neuron.LIFNode(v_threshold=0.3)
        self.head = layer.Linear(12 * 8, CLASSES)
        functional.set_step_mode(self, "m")

    def forward(self, x):
        spikes = torch.cat([self.lif(self.conv(c)) for c in x.chunk(2)])
        return self.head(spikes.flatten(2)).mean(0)


class LastOfEach(Chunks):
    """Of either half the last step's spikes, taken from the end."""

    def forward(self, x):
        spikes = [self.lif(self.conv(c))[-1] for c in x.chunk(2)]
        return self.head(torch.stack(spikes).flatten(2)).mean(0)


@needs_compiler
@pytest.mark.parametrize("make", [Contained, Chunks])
def test_neurons_remember_between_calls(make, tmp_path):
    net = apply_recipe(make().eval(), {"*": "4u"})
    frames = torch.randint(0, 4, FRAMES).float()
    export(net, frames, tmp_path / "net.onnx", input_scale=1.0)
    assert hqc.verify(tmp_path / "net.onnx", "host").ok
    logits = hqc.compile(tmp_path / "net.onnx", target="host", output=tmp_path / "build").run(
        frames.numpy()
    )
    functional.reset_net(net)
    with torch.no_grad():
        np.testing.assert_allclose(logits.reshape(1, -1), net(frames).numpy(), atol=1e-5)


def test_steps_that_are_taken_from_the_end_stay_the_same_steps(tmp_path):
    """`export` compares what it writes with the module: the second step's spikes and the last's."""
    export(LastOfEach().eval(), torch.randint(0, 4, FRAMES).float(), tmp_path / "net.onnx")


class Recurrent(Net):
    """Neurons that are given what they fired at the step before."""

    def step(self, x):
        y = self.stem(x)
        self.fired = self.lif1(y if self.fired is None else y - 0.1 * self.fired)
        y = self.pool(self.fired)
        return self.lif3(self.head((self.lif2(self.conv2(y)) + y).flatten(1)))

    def forward(self, x):
        self.fired = None
        out = summed(self, x)
        self.fired = None
        return out


def test_recurrent_networks_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"layer 'lif1' is called again, .* own spikes"):
        export(Recurrent(None).eval(), torch.rand(IMAGE), tmp_path / "net.onnx")


def test_a_second_run_begins_at_rest(tmp_path):
    """Both are layers of their own in the file, with the first one's name and the next."""
    export(made(twice).eval(), torch.randint(0, 4, FRAMES).float(), tmp_path / "net.onnx")
    names = [n.name for n in load_model(tmp_path / "net.onnx").graph if n.op_type == "LIF"]
    assert sorted(names) == ["lif1", "lif1_2", "lif2", "lif2_2", "lif3", "lif3_2"]
