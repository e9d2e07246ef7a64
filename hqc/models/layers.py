"""The layers that spiking transformers are made of.

A membrane shortcut adds membrane potentials, not spikes: neurons come first in every branch, and
what a branch adds to the residual stream is the output of its last BatchNorm.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hqc.models.lif import LIF
from hqc.quantize.uniform import QuantUniform


def at_each_step(x: Tensor, *layers: nn.Module) -> Tensor:
    """Layers of images [B, C, H, W], one after the other, on x [T, N, C, H, W]."""
    y = x.flatten(0, 1)
    for layer in layers:
        y = layer(y)
    return y.unflatten(0, x.shape[:2])


class ConvBN(nn.Module):
    """Convolution and BatchNorm on [T, N, C, H, W]; then neurons, then an optional max-pool."""

    def __init__(
        self, in_channels: int, channels: int, pool: bool = False, kernel: int = 3
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.lif = LIF()
        self.pool = nn.MaxPool2d(3, stride=2, padding=1) if pool else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.lif(at_each_step(x, self.conv, self.bn))
        return y if self.pool is None else at_each_step(y, self.pool)


class NeuronConv(nn.Module):
    """Neurons (unless `fires` is false), a convolution and BatchNorm on [T, N, C, H, W]."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        bias: bool = False,
        fires: bool = True,
    ) -> None:
        super().__init__()
        self.lif = LIF() if fires else None
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, bias=bias)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.lif is None else self.lif(x)
        return at_each_step(x, self.conv, self.bn)


class SeparableConv(nn.Module):
    """Pointwise, depthwise 7x7 and pointwise convolution: a token mixer of Meta-SpikeFormer."""

    def __init__(self, dim: int, ratio: int = 2, kernel: int = 7) -> None:
        super().__init__()
        inner = dim * ratio
        self.expand = NeuronConv(dim, inner)
        self.lif = LIF()
        self.depthwise = nn.Conv2d(inner, inner, kernel, 1, kernel // 2, groups=inner, bias=False)
        self.project = nn.Conv2d(inner, dim, 1, bias=False)
        self.bn = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.lif(self.expand(x))
        return at_each_step(spikes, self.depthwise, self.project, self.bn)


class RepConv(nn.Module):
    """1x1 convolution, BatchNorm, depthwise 3x3, 1x1, BatchNorm: linear, [B, C, H, W] to the same.

    Between the first BatchNorm and the depthwise convolution the image is padded with what the
    BatchNorm gives for an input of 0, so that it is, in evaluation, one convolution of the image
    padded with zeros.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 1, bias=False)
        self.mix_bn = nn.BatchNorm2d(channels)
        self.depthwise = nn.Conv2d(channels, channels, 3, groups=channels, bias=False)
        self.project = nn.Conv2d(channels, channels, 1, bias=False)
        self.project_bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            y = self.mix_bn(self.mix(x))
            bn = self.mix_bn
            of_zero = bn.bias - bn.running_mean * bn.weight / (bn.running_var + bn.eps).sqrt()
            of_zero = of_zero.detach()[:, None, None]
            y = F.pad(y - of_zero, (1, 1, 1, 1)) + of_zero
        else:
            y = self.mix_bn(self.mix(F.pad(x, (1, 1, 1, 1))))
        return self.project_bn(self.project(self.depthwise(y)))


class RepConvNeurons(nn.Module):
    """RepConv, BatchNorm and neurons on spikes [T, N, C, H, W]; without neurons, potentials."""

    def __init__(self, dim: int, fires: bool = True) -> None:
        super().__init__()
        self.conv = RepConv(dim)
        self.bn = nn.BatchNorm2d(dim)
        self.lif = LIF() if fires else None

    def forward(self, x: Tensor) -> Tensor:
        y = at_each_step(x, self.conv, self.bn)
        return y if self.lif is None else self.lif(y)


class ConvMLP(nn.Module):
    """Two convolutions, each behind neurons: a channel mixer, dim to dim * ratio and back."""

    def __init__(self, dim: int, ratio: int = 4, kernel: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.expand = NeuronConv(dim, dim * ratio, kernel, bias=bias)
        self.project = NeuronConv(dim * ratio, dim, kernel, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.expand(x))


class MeanHead(nn.Module):
    """Potentials [T, N, C, H, W] -> their mean over positions, neurons, a classifier: [N, classes].

    The classifier reads the firing rate, the mean of its spikes over time.
    """

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.lif = LIF()
        self.linear = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.lif(x.mean((3, 4))).mean(0))


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Spikes [T, N, C, H, W] -> tokens by head [T, N, heads, L, C / heads]."""
    return x.flatten(3).unflatten(2, (heads, -1)).transpose(3, 4)


def merge_heads(x: Tensor, like: Tensor) -> Tensor:
    """Tokens by head [T, N, heads, L, d] -> [T, N, C, H, W], the shape of `like`."""
    return x.transpose(3, 4).flatten(2, 3).unflatten(3, like.shape[3:])


class ProductAttention(nn.Module):
    """Spike-driven self-attention of Meta-SpikeFormer (SDSA-3): LIF(Q (K^T V) * scale)."""

    def __init__(self, dim: int, heads: int = 8, scale: float = 0.125) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale
        self.lif = LIF()
        self.q, self.k, self.v = (RepConvNeurons(dim) for _ in range(3))
        self.attention_lif = LIF(v_threshold=0.5)
        self.proj = RepConvNeurons(dim, fires=False)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.lif(x)
        q, k, v = (split_heads(layer(spikes), self.heads) for layer in (self.q, self.k, self.v))
        y = q @ (k.transpose(-2, -1) @ v) * self.scale
        return self.proj(self.attention_lif(merge_heads(y, x)))


class MaskAttention(nn.Module):
    """Spike-driven self-attention of Spike-driven Transformer (SDSA-1): Q * LIF(sum of K * V).

    The sum runs over tokens: a mask of channels, the same for all tokens of a time step.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.lif = LIF()
        self.q, self.k, self.v = (ConvBN(dim, dim, kernel=1) for _ in range(3))
        self.attention_lif = LIF(v_threshold=0.5)
        self.proj = nn.Conv2d(dim, dim, 1)
        self.bn = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.lif(x)
        q, k, v = self.q(spikes), self.k(spikes), self.v(spikes)
        mask = self.attention_lif((k * v).sum((3, 4), keepdim=True))
        return at_each_step(q * mask, self.proj, self.bn)


class Shortcuts(nn.Sequential):
    """x + branch(x) for one branch after the other, on membrane potentials [T, N, C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        for branch in self:
            x = x + branch(x)
        return x


class FramesIn(nn.Module):
    """The input's quantizer: frames to unsigned integers, times a fixed scale."""

    def __init__(self, bits: int = 8, scale: float = 1.0) -> None:
        super().__init__()
        self.quantizer = QuantUniform(bits, signed=False)
        self.quantizer.scale.requires_grad_(False).fill_(scale)

    def forward(self, frames: Tensor) -> Tensor:
        return self.quantizer(frames)


@torch.no_grad()
def calibrate_batch_norm(model: nn.Module, frames: Tensor) -> nn.Module:
    """Set every BatchNorm's mean and variance to those of `frames` [T, N, ...]; return the model.

    A network whose weights were never trained fires in every layer afterwards.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    was_training = model.training
    model.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model(frames)
    for norm in norms:
        norm.momentum = 0.1
    return model.train(was_training)
