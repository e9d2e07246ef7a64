"""Synaptic operations: against brute force, against SpikingJelly, and torch against ONNX."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron, op_counter
from torch import nn

from hqc.energy import Precision, estimate
from hqc.energy.count_model import count_model
from hqc.energy.count_module import count_module
from hqc.energy.counts import FP32, Tally, Window
from hqc.energy.groups import attention_part, group_of
from hqc.energy.overhead import Overhead, precisions_of
from hqc.frontend.export import export
from hqc.frontend.load import load_model
from hqc.models.lif import LIF
from hqc.models.meta_spikeformer import MetaSpikeFormer
from hqc.models.spike_driven import SpikeDrivenTransformer
from hqc.models.spikformer import Spikformer
from hqc.quantize import apply_recipe
from hqc.targets import load_profile, profile_names
from tests.exact_numbers import with_exact_numbers

RECIPE = {"tokenizer.0.conv": "8u", "*.[qk].linear": "2l", "head": "8u", "*": "4u"}


def firing(model, recipe):
    """The model in exact numbers, with neurons that fire now and then in every layer."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 1.0, 2.0)
            nn.init.uniform_(module.bias, 0.5, 1.5)
    return with_exact_numbers(apply_recipe(model, recipe)).eval()


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    model = firing(Spikformer(in_channels=2, classes=10, dim=16, depth=2, heads=2), RECIPE)
    return model, torch.poisson(torch.full((4, 3, 2, 18, 18), 0.3))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad", "dilation", "groups"),
    [
        (6, 3, 1, 1, 1, 1),
        (7, 3, 2, 1, 1, 2),
        (7, 2, 2, 0, 1, 4),
        (8, 3, 1, 2, 2, 1),
        (5, 1, 1, 0, 1, 1),
    ],
)
def test_convolutions_by_brute_force(size, kernel, stride, pad, dilation, groups, rng):
    x = rng.integers(0, 3, (2, 4, size, size)).astype(np.float32)
    shape = (8, 4 // groups, kernel, kernel)
    outputs = (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
    operations = synapses = 0
    for row, out, i, j, c, a, b in product(
        range(2),
        range(8),
        range(outputs),
        range(outputs),
        range(4 // groups),
        range(kernel),
        range(kernel),
    ):
        y, z = i * stride + a * dilation - pad, j * stride + b * dilation - pad
        if 0 <= y < size and 0 <= z < size:
            channel = out // (8 // groups) * (4 // groups) + c
            synapses += 1
            operations += x[row, channel, y, z]
    tally = Tally(2)
    tally.start()
    window = Window((kernel,) * 2, (stride,) * 2, (dilation,) * 2, (pad,) * 2, (outputs,) * 2)
    tally.convolution("conv", x, 2, shape, window)
    (layer,) = tally.finish()
    assert (layer.operations, layer.synapses) == (operations, synapses)
    assert layer.spikes == x.sum() == sum(layer.spikes_per_step)


@pytest.mark.parametrize(("a_levels", "b_levels"), product((0, 1), (0, 1)))
def test_products_by_brute_force(a_levels, b_levels, rng):
    a, b = (rng.integers(0, 2, shape).astype(np.float32) for shape in ((2, 3, 5), (2, 5, 4)))
    expected = 0
    for h, m, k, n in product(range(2), range(3), range(5), range(4)):
        expected += (a[h, m, k] if a_levels else 1) * (b[h, k, n] if b_levels else 1)
    tally = Tally(1)
    tally.start()
    tally.product("qk", a, b, a_levels, b_levels)
    (layer,) = tally.finish()
    assert (layer.operations, layer.synapses) == (expected, 2 * 3 * 5 * 4)


def test_a_whole_network_by_brute_force(network):
    """Every spike into every layer, sent through a layer of ones."""
    model, frames = network
    expected = {}

    def count(name):
        def hook(module, inputs, _output):
            x = inputs[0].double()
            weight = torch.ones_like(module.weight, dtype=torch.float64)
            if isinstance(module, nn.Conv2d):
                y = nn.functional.conv2d(x, weight, None, module.stride, module.padding)
            else:
                y = x @ weight.T
            expected[name] = y.sum().item() / frames.shape[1]

        return hook

    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    hooks = [m.register_forward_hook(count(n)) for n, m in layers.items()]
    counted = {c.name: c for c in count_module(model, frames)}
    for hook in hooks:
        hook.remove()
    for name in set(layers) - {"tokenizer.0.conv", "head"}:
        assert counted[name].operations == pytest.approx(expected[name], rel=1e-12)
        assert counted[name].operations > 0
    first = counted["tokenizer.0.conv"]
    assert first.operations == first.synapses  # multiply-accumulates


def test_the_same_as_spikingjelly_where_inputs_are_spikes(network):
    """SpikingJelly counts layers of binary inputs alone; sums of spikes it does not count."""
    model, frames = network
    counter = op_counter.SynOpCounter()
    with torch.no_grad(), op_counter.DispatchCounterMode([counter]):
        model(frames)
    theirs = counter.get_counts()
    ours = count_module(model, frames)
    compared = 0
    for layer in ours:
        scope = theirs.get(f"Spikformer.{layer.name}", {})
        if layer.levels == 1 and layer.weights:
            assert sum(scope.values()) == round(layer.operations * frames.shape[1])
            compared += 1
    assert compared == 8
    attention = theirs["Spikformer.blocks.0.attention"]
    products = sum(n for op, n in attention.items() if "bmm" in str(op))
    assert products == round(
        sum(c.operations for c in ours if c.name.startswith("blocks.0.attention/"))
        * frames.shape[1]
    )


def test_torch_and_onnx_count_and_cost_the_same(network, tmp_path):
    model, frames = network
    export(model, frames[:, :1], tmp_path / "model.onnx")
    ours = count_module(model, frames)
    recordings = [frames[:, i : i + 1].numpy() for i in range(frames.shape[1])]
    theirs, precisions = count_model(load_model(tmp_path / "model.onnx"), recordings)
    assert precisions == precisions_of(model)
    assert [c.name for c in ours] == [c.name for c in theirs]
    for name in profile_names():
        profile = load_profile(name)
        a, b = (estimate(c, precisions, profile, 4).as_dict() for c in (ours, theirs))
        for key in ("energy_pj", "energy_ratio", "storage_ratio", "average_bits"):
            assert a[key] == pytest.approx(b[key], rel=1e-6)
        for x, y in zip(a["layers"], b["layers"], strict=True):
            assert x["energy_pj"] == pytest.approx(y["energy_pj"], rel=1e-6)
            assert x["rate"] == y["rate"]
    assert min(c.rate for c in ours if c.levels) > 0.01


@pytest.mark.parametrize(
    "make",
    [
        lambda: SpikeDrivenTransformer(2, 3, dim=16, depth=1, pool=(True, False, False, False)),
        lambda: MetaSpikeFormer(2, 3, (8, 8, 16, 16), (1, 0), heads=2, first_kernel=3),
    ],
    ids=["spike-driven", "meta-spikeformer"],
)
def test_membrane_shortcuts_are_counted_alike(make, tmp_path):
    torch.manual_seed(0)
    model, frames = firing(make(), {"*": "2l"}), torch.poisson(torch.full((2, 1, 2, 16, 16), 0.5))
    export(model, frames, tmp_path / "model.onnx")
    ours = count_module(model, frames)
    theirs, _ = count_model(load_model(tmp_path / "model.onnx"), [frames.numpy()])
    assert [c.name for c in ours] == [c.name for c in theirs]
    for a, b in zip(ours, theirs, strict=True):
        for count in ("operations", "additions", "spikes", "levels", "weights", "neurons"):
            assert getattr(a, count) == getattr(b, count), (a.name, count)
    assert sum(a.levels > 0 for a in ours) > len(ours) / 2


@pytest.mark.parametrize("name", profile_names())
def test_the_search_loss_is_the_same_model(name, network):
    """One-hot probabilities cost what `estimate` says, and the gradient is the difference."""
    model, frames = network
    counts = count_module(model, frames)
    choices = ["2u", "4u", "2l", "4l", "fp32"]
    overhead = Overhead(counts, choices, load_profile(name), time_steps=4)
    rng = np.random.default_rng(0)
    picked = rng.integers(0, len(choices), len(overhead.layers))
    probabilities = torch.eye(len(choices), dtype=torch.float64)[picked].requires_grad_()
    precisions = {
        layer: Precision.of(choices[i]) for layer, i in zip(overhead.layers, picked, strict=True)
    }
    found = estimate(counts, precisions, load_profile(name), 4)
    energy, storage = overhead(probabilities)
    weighted = [x for x in found.layers if x.counts.weights]
    expected = sum(x.energy.total for x in weighted) / sum(x.fp32.total for x in weighted)
    assert energy.item() == pytest.approx(expected, rel=1e-6)
    assert storage.item() == pytest.approx(1 / found.as_dict()["storage_ratio"], rel=1e-6)
    storage.backward()
    assert (probabilities.grad[:, 4] > probabilities.grad[:, 0]).all()


def test_rates_that_are_said_replace_those_measured(network):
    model, frames = network
    for layer in count_module(model, frames):
        at = layer.at_rate(0.15)
        if not layer.levels:
            assert at.operations == layer.synapses
        elif layer.name.endswith("attention/MatMul"):  # Q K^T: two spikes must meet
            assert at.operations == pytest.approx(0.15**2 * layer.synapses)
        else:
            assert at.operations == pytest.approx(0.15 * layer.synapses)


def test_accumulators_hold_the_largest_sum(network):
    for layer in count_module(*network):
        bits = layer.quantities(Precision(4, "uniform"), 4)["accumulator_bits"]
        assert 2 ** (bits - 1) >= layer.fan_in * 8 * (layer.levels or 255)


def test_neurons_of_spikingjelly_are_known():
    class Net(nn.Module):
        def __init__(self, lif):
            super().__init__()
            self.fc1, self.lif, self.fc2 = nn.Linear(6, 5), lif, nn.Linear(5, 3)

        def forward(self, x):
            return self.fc2(self.lif(self.fc1(x)))

    torch.manual_seed(1)
    theirs = Net(neuron.LIFNode(tau=2.0, step_mode="m", detach_reset=True))
    ours = Net(LIF(tau=2.0))
    ours.load_state_dict(theirs.state_dict(), strict=False)
    frames = torch.rand(4, 2, 6) * 6
    a, b = count_module(theirs, frames), count_module(ours, frames)
    assert a == b
    assert a[1].levels == 1
    assert a[1].spikes > 0
    assert a[0].neurons == 5


@pytest.mark.parametrize(
    ("name", "group", "part"),
    [
        ("tokenizer.0.conv", "tokenizer", None),
        ("blocks.0.attention.q.linear", "attention", "q"),
        ("blocks.0.attention.proj.linear", "attention", "output"),
        ("blocks.0.attention/MatMul_2", "attention", "product"),
        ("block.1.attn.v_conv", "attention", "v"),
        ("block.1.mlp.fc1_linear", "mlp", None),
        ("patch_embed.proj_conv", "tokenizer", None),
        ("head", "head", None),
    ],
)
def test_parts_of_a_network_by_name(name, group, part):
    assert (group_of(name), attention_part(name)) == (group, part)


def test_precisions_in_a_recipes_notation():
    assert [str(Precision.of(c)) for c in ("fp32", "4u", "2l")] == ["fp32", "4u", "2l"]
    assert Precision.of("4l").code_bits == 8
    assert Precision.of("2l").code_bits == 2
    assert FP32.bits == 32
