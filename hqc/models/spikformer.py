"""Spikformer (Zhou et al., ICLR 2023): tokenizer, spiking self-attention, MLP, head."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from hqc.models.layers import ConvBN
from hqc.models.lif import LIF
from hqc.quantize.uniform import QuantUniform


class LinearBN(nn.Module):
    """Linear layer, BatchNorm and neurons on tokens [T, N, L, D]."""

    def __init__(self, in_features: int, features: int, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, features, bias)
        self.bn = nn.BatchNorm1d(features)
        self.lif = LIF()

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.linear(x.flatten(0, 2)))
        return self.lif(y.unflatten(0, x.shape[:3]))


class SpikingSelfAttention(nn.Module):
    """Softmax-free attention of spikes (equation 6): LIF(Q K^T V * scale), then a projection."""

    def __init__(self, dim: int, heads: int, scale: float = 0.125, qkv_bias: bool = True) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale
        self.q, self.k, self.v = (LinearBN(dim, dim, qkv_bias) for _ in range(3))
        self.lif = LIF(v_threshold=0.5)
        self.proj = LinearBN(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(2, 3)
            for layer in (self.q, self.k, self.v)
        )
        y = (q @ k.transpose(-2, -1)) @ v * self.scale
        return self.proj(self.lif(y.transpose(2, 3).flatten(3)))


class Block(nn.Module):
    """Encoder block: x + attention(x), then x + MLP(x); the sums are of spikes, not an OR."""

    def __init__(self, dim: int, heads: int, mlp_ratio: int = 4, qkv_bias: bool = True) -> None:
        super().__init__()
        self.attention = SpikingSelfAttention(dim, heads, qkv_bias=qkv_bias)
        self.mlp = nn.Sequential(LinearBN(dim, dim * mlp_ratio), LinearBN(dim * mlp_ratio, dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return x + self.mlp(x)


class Spikformer(nn.Module):
    """Frames [T, N, C, H, W] -> logits [N, classes].

    The tokenizer's stages have D/8, D/4, D/2 and D channels; those whose `pool` is true halve the
    image. The head reads the firing rate: the mean over tokens and time.
    """

    def __init__(
        self,
        in_channels: int = 2,
        classes: int = 10,
        dim: int = 96,
        depth: int = 1,
        heads: int = 3,
        mlp_ratio: int = 4,
        pool: Sequence[bool] = (True, True, False, False),
        input_bits: int | None = 8,
        input_scale: float = 1.0,
        qkv_bias: bool = True,
    ) -> None:
        super().__init__()
        self.quant_input = None
        if input_bits is not None:
            self.quant_input = QuantUniform(input_bits, signed=False)
            self.quant_input.scale.requires_grad_(False).fill_(input_scale)
        widths = (in_channels, dim // 8, dim // 4, dim // 2, dim)
        self.tokenizer = nn.Sequential(
            *(ConvBN(c, n, p) for (c, n), p in zip(pairwise(widths), pool, strict=True))
        )
        self.position = ConvBN(dim, dim)
        self.blocks = nn.Sequential(*(Block(dim, heads, mlp_ratio, qkv_bias) for _ in range(depth)))
        self.head = nn.Linear(dim, classes)

    def forward(self, frames: Tensor) -> Tensor:
        x = frames if self.quant_input is None else self.quant_input(frames)
        x = self.tokenizer(x)
        x = x + self.position(x)
        x = self.blocks(x.flatten(3).transpose(2, 3))
        return self.head(x.mean((0, 2)))


def spikformer_4_384(classes: int = 10) -> Spikformer:
    """The paper's network of 9.32 million parameters, for CIFAR-10 (T = 4)."""
    return Spikformer(3, classes, 384, 4, 12, pool=(False, False, True, True))


def spikformer_2_256(classes: int = 10) -> Spikformer:
    """The paper's network of 2.57 million parameters, for CIFAR10-DVS and DVS128 (T = 16)."""
    return Spikformer(2, classes, 256, 2, 16, pool=(True, True, True, True))


def spikformer_8_512(classes: int = 1000) -> Spikformer:
    """The paper's network of 29.68 million parameters, for ImageNet (T = 4)."""
    return Spikformer(3, classes, 512, 8, 8, pool=(True, True, True, True), qkv_bias=False)
