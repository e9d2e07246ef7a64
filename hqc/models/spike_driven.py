"""Spike-driven Transformer (Yao et al., NeurIPS 2023), v1."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from hqc.models.layers import (
    ConvBN,
    ConvMLP,
    FramesIn,
    MaskAttention,
    MeanHead,
    NeuronConv,
    Shortcuts,
    at_each_step,
)


class Tokenizer(nn.Module):
    """Four 3x3 convolutions with neurons, and a fifth around a membrane shortcut.

    Stages whose `pool` is true halve the image: the first three pool spikes, the last potentials.
    """

    def __init__(self, in_channels: int, dim: int, pool: Sequence[bool]) -> None:
        super().__init__()
        widths = (in_channels, dim // 8, dim // 4, dim // 2)
        self.spiking = nn.Sequential(
            *(ConvBN(c, n, p) for (c, n), p in zip(pairwise(widths), pool[:3], strict=True))
        )
        self.last = NeuronConv(dim // 2, dim, 3, fires=False)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1) if pool[3] else None
        self.position = NeuronConv(dim, dim, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.spiking(x))
        x = x if self.pool is None else at_each_step(x, self.pool)
        return x + self.position(x)


class SpikeDrivenTransformer(nn.Module):
    """Frames [T, N, C, H, W] -> logits [N, classes]."""

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 1000,
        dim: int = 384,
        depth: int = 8,
        ratio: int = 4,
        pool: Sequence[bool] = (True, True, True, True),
        input_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.frames_in = FramesIn(scale=input_scale)
        self.tokenizer = Tokenizer(in_channels, dim, pool)
        blocks = (
            Shortcuts(OrderedDict(attention=MaskAttention(dim), mlp=ConvMLP(dim, ratio)))
            for _ in range(depth)
        )
        self.blocks = nn.Sequential(*blocks)
        self.head = MeanHead(dim, classes)

    def forward(self, frames: Tensor) -> Tensor:
        return self.head(self.blocks(self.tokenizer(self.frames_in(frames))))


def spike_driven_8_384(classes: int = 1000) -> SpikeDrivenTransformer:
    """The paper's network of 16.81 million parameters, for ImageNet."""
    return SpikeDrivenTransformer(classes=classes, dim=384, depth=8)


def spike_driven_8_512(classes: int = 1000) -> SpikeDrivenTransformer:
    """The paper's network of 29.68 million parameters, for ImageNet."""
    return SpikeDrivenTransformer(classes=classes, dim=512, depth=8)


def spike_driven_8_768(classes: int = 1000) -> SpikeDrivenTransformer:
    """The paper's network of 66.34 million parameters, for ImageNet."""
    return SpikeDrivenTransformer(classes=classes, dim=768, depth=8)


def spike_driven_2_512(classes: int = 10) -> SpikeDrivenTransformer:
    """The paper's network for CIFAR-10; of 10.28 million parameters with CIFAR-100's classes."""
    return SpikeDrivenTransformer(
        classes=classes, dim=512, depth=2, pool=(False, False, True, True)
    )
