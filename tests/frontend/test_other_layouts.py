"""Networks written by others: Spikformer as it was published, and plain torch.onnx.export."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import hqc
from hqc.frontend.export import export
from hqc.frontend.load import load_model
from hqc.models.lif import LIF
from hqc.quantize import QuantUniform, apply_recipe
from hqc.reference import run_reference
from tests.exact_numbers import with_exact_numbers

T, D = 3, 32


class PublishedAttention(nn.Module):
    """Linear on [T B, N, C], BatchNorm between two transposes, the scale between the products.

    Keys pass their neurons as [T, B, C, N], as in the code for CIFAR-10.
    """

    def __init__(self, heads=2):
        super().__init__()
        self.heads = heads
        for name in "qkv":
            self.add_module(f"{name}_linear", nn.Linear(D, D))
            self.add_module(f"{name}_bn", nn.BatchNorm1d(D))
            self.add_module(f"{name}_lif", LIF())
        self.attn_lif = LIF(v_threshold=0.5)
        self.proj_linear, self.proj_bn, self.proj_lif = nn.Linear(D, D), nn.BatchNorm1d(D), LIF()

    def layer(self, name, x, shape):
        linear, bn, lif = (getattr(self, f"{name}_{kind}") for kind in ("linear", "bn", "lif"))
        return lif(bn(linear(x).transpose(-1, -2)).transpose(-1, -2).reshape(shape).contiguous())

    def forward(self, x):
        steps, batch, tokens, dim = shape = x.shape
        flat = x.flatten(0, 1)
        mixed = (steps, batch, dim, tokens)
        q, k, v = (
            self.layer(name, flat, mixed if name == "k" else shape)
            .reshape(steps, batch, tokens, self.heads, dim // self.heads)
            .permute(0, 1, 3, 2, 4)
            .contiguous()
            for name in "qkv"
        )
        attention = (q @ k.transpose(-2, -1)) * 0.125
        x = (attention @ v).transpose(2, 3).reshape(shape).contiguous()
        return self.layer("proj", self.attn_lif(x).flatten(0, 1), shape)


class Published(nn.Module):
    """An image shown at every step, pooled and added to its position encoding before flattening."""

    def __init__(self):
        super().__init__()
        self.quant = QuantUniform(8)
        self.conv0, self.bn0, self.lif0 = self.stage(3, D)
        self.conv1, self.bn1, self.lif1 = self.stage(D, D)
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.attention = PublishedAttention()
        self.fc1, self.fc1_bn, self.fc1_lif = nn.Linear(D, 2 * D), nn.BatchNorm1d(2 * D), LIF()
        self.fc2, self.fc2_bn, self.fc2_lif = nn.Linear(2 * D, D), nn.BatchNorm1d(D), LIF()
        self.head = nn.Linear(D, 5)

    @staticmethod
    def stage(channels, out):
        return nn.Conv2d(channels, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out), LIF()

    def mlp(self, linear, bn, lif, x):
        steps, batch, tokens, _ = x.shape
        y = bn(linear(x.flatten(0, 1)).transpose(-1, -2)).transpose(-1, -2)
        return lif(y.reshape(steps, batch, tokens, -1).contiguous())

    def forward(self, image):
        frames = image.unsqueeze(0).repeat(T, 1, 1, 1, 1)
        steps, batch, _, height, width = frames.shape
        x = self.bn0(self.conv0(self.quant(frames).flatten(0, 1)))
        x = self.lif0(x.reshape(steps, batch, -1, height, width).contiguous())
        x = self.pool(x.flatten(0, 1).contiguous())
        feature = x.reshape(steps, batch, -1, height // 2, width // 2).contiguous()
        x = self.bn1(self.conv1(x)).reshape(feature.shape).contiguous()
        x = (self.lif1(x) + feature).flatten(-2).transpose(-1, -2)
        x = x + self.attention(x)
        y = self.mlp(self.fc1, self.fc1_bn, self.fc1_lif, x)
        x = x + self.mlp(self.fc2, self.fc2_bn, self.fc2_lif, y)
        return self.head(x.mean(2).mean(0))


class SpikeDrivenAttention(nn.Module):
    """Convolutions of one by one on potentials, heads after time, a sum over tokens."""

    def __init__(self, heads=2):
        super().__init__()
        self.heads = heads
        self.shortcut_lif, self.talking_heads_lif = LIF(), LIF(v_threshold=0.5)
        for name in "qkv":
            self.add_module(f"{name}_conv", nn.Conv2d(D, D, 1, bias=False))
            self.add_module(f"{name}_bn", nn.BatchNorm2d(D))
            self.add_module(f"{name}_lif", LIF())
        self.proj_conv, self.proj_bn = nn.Conv2d(D, D, 1), nn.BatchNorm2d(D)

    def forward(self, x):
        steps, batch, dim, height, width = shape = x.shape
        flat = self.shortcut_lif(x).flatten(0, 1)
        q, k, v = (
            getattr(self, f"{n}_lif")(
                getattr(self, f"{n}_bn")(getattr(self, f"{n}_conv")(flat)).reshape(shape)
            )
            .flatten(3)
            .transpose(-1, -2)
            .reshape(steps, batch, height * width, self.heads, dim // self.heads)
            .permute(0, 1, 3, 2, 4)
            .contiguous()
            for n in "qkv"
        )
        kv = self.talking_heads_lif(k.mul(v).sum(dim=-2, keepdim=True))
        y = q.mul(kv).transpose(3, 4).reshape(shape).contiguous()
        return x + self.proj_bn(self.proj_conv(y.flatten(0, 1))).reshape(shape).contiguous()


class SpikeDriven(nn.Module):
    """A position encoding added to pooled potentials, and classes at every step."""

    def __init__(self):
        super().__init__()
        self.quant = QuantUniform(8)
        self.conv0, self.bn0, self.lif0 = Published.stage(3, D)
        self.conv1, self.bn1, self.lif1 = Published.stage(D, D)
        self.rpe_conv, self.rpe_bn, self.head_lif = Published.stage(D, D)
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.attention, self.head = SpikeDrivenAttention(), nn.Linear(D, 5)

    def forward(self, image):
        frames = image.unsqueeze(0).repeat(T, 1, 1, 1, 1)
        steps, batch, _, height, width = frames.shape
        x = self.bn0(self.conv0(self.quant(frames).flatten(0, 1)))
        x = self.lif0(x.reshape(steps, batch, -1, height, width).contiguous())
        feature = self.pool(self.bn1(self.conv1(x.flatten(0, 1))))
        x = self.lif1(feature.reshape(steps, batch, -1, height // 2, width // 2).contiguous())
        x = self.rpe_bn(self.rpe_conv(x.flatten(0, 1))) + feature
        x = self.attention(x.reshape(steps, batch, -1, height // 2, width // 2).contiguous())
        return self.head(self.head_lif(x.flatten(3).mean(3))).mean(0)


def images(count):
    return 1.5 * torch.randn(count, 3, 8, 8)


def fitted(model, recipe, bias=0.9):
    """The model with its quantizers and statistics, firing in every layer, in exact numbers."""
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if "bn" in name:
            parameter.data.fill_(2.5 if name.endswith("weight") else bias)
    model.quant.scale.requires_grad_(False).fill_(1 / 32)
    apply_recipe(model, recipe)
    model.train()
    with torch.no_grad():
        for _ in range(10):
            model(images(4))
    with_exact_numbers(model)
    rates = {}
    for name, module in model.named_modules():
        if isinstance(module, LIF):
            module.register_forward_hook(lambda m, i, o, n=name: rates.update({n: o.mean().item()}))
    with torch.no_grad():
        model.eval()(images(1))
    assert {name: rate for name, rate in rates.items() if not 0.01 < rate < 0.9} == {}
    for module in model.modules():
        module._forward_hooks.clear()
    return model


@pytest.fixture(scope="module")
def network():
    recipe = {"conv0": "8u", "head": "8u", "*.q_linear": "2l", "fc2": "4l", "*": "4u"}
    return fitted(Published(), recipe)


@pytest.fixture
def recordings(tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    for number in range(3):
        np.save(folder / f"{number}.npy", images(1).numpy())
    return folder


def test_the_published_layout_compiles(network, recordings, tmp_path):
    export(network, images(1), tmp_path / "published.onnx", name="published")
    found = hqc.verify(tmp_path / "published.onnx", data=recordings)
    assert found.ok
    assert found.recordings == 3
    assert 0 == found.spikes_differ < found.spikes
    assert found.logits_error < 1e-6


def test_it_gives_the_logits_of_the_network_as_it_was(network, recordings, tmp_path):
    export(network, images(1), tmp_path / "published.onnx", name="published")
    loaded = load_model(tmp_path / "published.onnx")
    for file in sorted(recordings.iterdir()):
        image = np.load(file)
        with torch.no_grad():
            expected = network(torch.from_numpy(image))
        logits = run_reference(loaded, {"frames": np.repeat(image[None], T, axis=0)})[0]
        np.testing.assert_allclose(logits, expected.numpy(), atol=1e-6)


def test_plain_torch_export_compiles(network, recordings, tmp_path):
    """Without function bodies or names, and of torch's own opset."""
    program = torch.onnx.export(network, (images(1),), dynamo=True, verbose=False)
    program.save(tmp_path / "plain.onnx")
    found = hqc.verify(tmp_path / "plain.onnx", data=recordings)
    assert found.ok
    assert found.recordings == 3
    assert 0 == found.spikes_differ < found.spikes
    assert found.logits_error < 1e-6


def test_the_spike_driven_layout_compiles(recordings, tmp_path):
    recipe = {"conv0": "8u", "head": "8u", "*.q_conv": "2l", "*": "4u"}
    model = fitted(SpikeDriven(), recipe, bias=0.2)
    export(model, images(1), tmp_path / "model.onnx")
    found = hqc.verify(tmp_path / "model.onnx", data=recordings)
    assert found.ok
    assert found.recordings == 3
    assert 0 == found.spikes_differ < found.spikes
    assert found.logits_error < 1e-6
