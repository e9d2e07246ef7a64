"""Spike-driven Transformer V2 from standard layers, ordered as its published code orders them.

The order of operations is that of Meta-SpikeFormer's classification model
(github.com/BICLab/Spike-Driven-Transformer-V2), small.
"""

from __future__ import annotations

import torch
from spikingjelly.activation_based.neuron import LIFNode
from torch import nn
from torch.nn import functional


def lif(threshold=1.0):
    return LIFNode(tau=2.0, v_threshold=threshold, detach_reset=True, step_mode="m")


def each(layer, x):
    """A layer of images, at every time step."""
    y = layer(x.flatten(0, 1))
    return y.reshape(*x.shape[:2], *y.shape[1:]).contiguous()


class BNAndPad(nn.Module):
    """BatchNorm, and a border of what it gives for 0, written pixel by pixel."""

    def __init__(self, channels):
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x):
        bn, y = self.bn, functional.pad(self.bn(x), [1] * 4)
        scale = bn.weight.detach() / torch.sqrt(bn.running_var + bn.eps)
        border = (bn.bias.detach() - bn.running_mean * scale).view(1, -1, 1, 1)
        y[:, :, 0:1, :] = border
        y[:, :, -1:, :] = border
        y[:, :, :, 0:1] = border
        y[:, :, :, -1:] = border
        return y


def rep_conv(channels):
    """A pointwise, a depthwise and a pointwise convolution without neurons between."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 1, bias=False),
        BNAndPad(channels),
        nn.Conv2d(channels, channels, 3, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.BatchNorm2d(channels),
    )


class ConvBlock(nn.Module):
    """A separable convolution, then two of 3 x 3, each with a membrane shortcut."""

    def __init__(self, channels, ratio=2):
        super().__init__()
        wide = ratio * channels
        self.lifs = nn.ModuleList(lif() for _ in range(4))
        self.pw1, self.bn1 = nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide)
        self.dw = nn.Conv2d(wide, wide, 7, padding=3, groups=wide, bias=False)
        self.pw2, self.bn2 = nn.Conv2d(wide, channels, 1, bias=False), nn.BatchNorm2d(channels)
        self.conv1, self.bn3 = nn.Conv2d(channels, wide, 3, 1, 1, bias=False), nn.BatchNorm2d(wide)
        self.conv2 = nn.Conv2d(wide, channels, 3, 1, 1, bias=False)
        self.bn4 = nn.BatchNorm2d(channels)

    def forward(self, x):
        y = each(nn.Sequential(self.pw1, self.bn1), self.lifs[0](x))
        x = x + each(nn.Sequential(self.dw, self.pw2, self.bn2), self.lifs[1](y))
        y = each(nn.Sequential(self.conv1, self.bn3), self.lifs[2](x))
        return x + each(nn.Sequential(self.conv2, self.bn4), self.lifs[3](y))


class Attention(nn.Module):
    """Q (K^T V) of RepConvs."""

    def __init__(self, channels, heads=4):
        super().__init__()
        self.heads, self.head_lif, self.attn_lif = heads, lif(), lif(0.5)
        self.q, self.k, self.v, self.proj = (rep_conv(channels) for _ in range(4))
        self.q_lif, self.k_lif, self.v_lif = (lif() for _ in range(3))

    def forward(self, x):
        steps, batch, channels, height, width = x.shape
        split = (steps, batch, height * width, self.heads, channels // self.heads)
        x = self.head_lif(x)
        q, k, v = (
            node(each(layer, x)).flatten(3).transpose(-1, -2).reshape(split).permute(0, 1, 3, 2, 4)
            for layer, node in ((self.q, self.q_lif), (self.k, self.k_lif), (self.v, self.v_lif))
        )
        y = (q @ (k.transpose(-2, -1) @ v)) * 0.125
        y = y.transpose(3, 4).reshape(steps, batch, channels, height * width).contiguous()
        return each(self.proj, self.attn_lif(y).reshape(steps, batch, channels, height, width))


class MLP(nn.Module):
    """Two convolutions of tokens, of one dimension."""

    def __init__(self, channels, ratio=2):
        super().__init__()
        self.fc1, self.bn1 = nn.Conv1d(channels, ratio * channels, 1), nn.BatchNorm1d(2 * channels)
        self.fc2, self.bn2 = nn.Conv1d(ratio * channels, channels, 1), nn.BatchNorm1d(channels)
        self.lif1, self.lif2 = lif(), lif()

    def forward(self, x):
        y = each(nn.Sequential(self.fc1, self.bn1), self.lif1(x.flatten(3)))
        return each(nn.Sequential(self.fc2, self.bn2), self.lif2(y)).reshape(x.shape)


class MetaSpikeFormer(nn.Module):
    """An image at every step, a convolutional and an attention block, classes at each step."""

    def __init__(self, time_steps):
        super().__init__()
        self.time_steps = time_steps
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 7, 2, 3), nn.BatchNorm2d(16))
        self.block = ConvBlock(16)
        self.down_lif = lif()
        self.down = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32))
        self.attention, self.mlp = Attention(32), MLP(32)
        self.lif, self.head = lif(), nn.Linear(32, 10)

    def forward(self, image):
        x = image.unsqueeze(0).repeat(self.time_steps, 1, 1, 1, 1)
        x = self.block(each(self.stem, x))
        x = each(self.down, self.down_lif(x))
        x = x + self.attention(x)
        x = x + self.mlp(x)
        return self.head(self.lif(x.flatten(3).mean(3))).mean(0)
