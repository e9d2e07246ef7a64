"""Networks written by others: Spikformer as it was published, and plain torch.onnx.export."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import hqc
from hqc.frontend.export import export
from hqc.models.lif import LIF
from hqc.quantize import QuantUniform, apply_recipe

T, D = 3, 32


class PublishedAttention(nn.Module):
    """Linear on [T B, N, C], BatchNorm between two transposes, the scale between the products."""

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
        q, k, v = (
            self.layer(name, flat, shape)
            .reshape(steps, batch, tokens, self.heads, dim // self.heads)
            .permute(0, 1, 3, 2, 4)
            .contiguous()
            for name in "qkv"
        )
        attention = (q @ k.transpose(-2, -1)) * 0.125
        x = (attention @ v).transpose(2, 3).reshape(shape).contiguous()
        return self.layer("proj", self.attn_lif(x).flatten(0, 1), shape)


class Published(nn.Module):
    """A tokenizer that pools twice and adds its position encoding before flattening."""

    def __init__(self):
        super().__init__()
        self.quant = QuantUniform(8, signed=False)
        self.quant.scale.requires_grad_(False).fill_(1 / 64)
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

    def forward(self, frames):
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


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    model = Published()
    for name, parameter in model.named_parameters():
        if "bn" in name:
            parameter.data.fill_(2.5 if name.endswith("weight") else 0.9)
    apply_recipe(model, {"conv0": "8u", "head": "8u", "*.q_linear": "2l", "fc2": "4l", "*": "4u"})
    model.train()
    with torch.no_grad():
        for _ in range(10):
            model(4 * torch.rand(T, 4, 3, 8, 8))
    rates = {}
    for name, module in model.named_modules():
        if isinstance(module, LIF):
            module.register_forward_hook(lambda m, i, o, n=name: rates.update({n: o.mean().item()}))
    with torch.no_grad():
        model.eval()(4 * torch.rand(T, 1, 3, 8, 8))
    assert all(0.01 < rate < 0.9 for rate in rates.values()), rates
    for module in model.modules():
        module._forward_hooks.clear()
    return model


def test_the_published_layout_compiles(network, tmp_path):
    export(network, 4 * torch.rand(T, 1, 3, 8, 8), tmp_path / "published.onnx", name="published")
    found = hqc.verify(tmp_path / "published.onnx")
    assert found.ok
    assert found.spikes_differ <= 2


def test_plain_torch_export_compiles(network, tmp_path):
    """Without function bodies or names, and of torch's own opset."""
    example = 4 * torch.rand(T, 1, 3, 8, 8)
    program = torch.onnx.export(network, (example,), dynamo=True, verbose=False)
    program.save(tmp_path / "plain.onnx")
    found = hqc.verify(tmp_path / "plain.onnx")
    assert found.ok
