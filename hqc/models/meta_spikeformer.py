"""Meta-SpikeFormer (Yao et al., ICLR 2024): Spike-driven Transformer v2."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from hqc.models.layers import (
    ConvMLP,
    FramesIn,
    MeanHead,
    NeuronConv,
    ProductAttention,
    SeparableConv,
    Shortcuts,
)


class MetaSpikeFormer(nn.Module):
    """Frames [T, N, C, H, W] -> logits [N, classes].

    Two stages of convolution blocks, at a half and a quarter of the image's size and then an
    eighth, and two of attention blocks, at a sixteenth. `dims` are the channels after the second
    downsampling and those that follow; `depths` the attention blocks of the last two stages.
    """

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 1000,
        dims: Sequence[int] = (128, 256, 512, 640),
        depths: Sequence[int] = (6, 2),
        heads: int = 8,
        ratio: int = 4,
        first_kernel: int = 7,
        attention_scale: float = 0.125,
        input_scale: float = 1.0,
    ) -> None:
        super().__init__()
        half, quarter, eighth, wide, widest = dims[0] // 2, *dims

        def convolutional(dim: int) -> nn.Module:
            mlp = ConvMLP(dim, ratio, 3, bias=False)
            return Shortcuts(OrderedDict(mixer=SeparableConv(dim), mlp=mlp))

        def attentive(dim: int) -> nn.Module:
            attention = ProductAttention(dim, heads, attention_scale)
            return Shortcuts(OrderedDict(attention=attention, mlp=ConvMLP(dim, ratio)))

        self.frames_in = FramesIn(scale=input_scale)
        self.stages = nn.Sequential(
            NeuronConv(in_channels, half, first_kernel, stride=2, bias=True, fires=False),
            convolutional(half),
            NeuronConv(half, quarter, 3, stride=2, bias=True),
            convolutional(quarter),
            NeuronConv(quarter, eighth, 3, stride=2, bias=True),
            convolutional(eighth),
            convolutional(eighth),
            NeuronConv(eighth, wide, 3, stride=2, bias=True),
            *(attentive(wide) for _ in range(depths[0])),
            NeuronConv(wide, widest, 3, bias=True),
            *(attentive(widest) for _ in range(depths[1])),
        )
        self.head = MeanHead(widest, classes)

    def forward(self, frames: Tensor) -> Tensor:
        return self.head(self.stages(self.frames_in(frames)))


def meta_spikeformer_15m(classes: int = 1000) -> MetaSpikeFormer:
    """The paper's network of 15.1 million parameters."""
    return MetaSpikeFormer(classes=classes, dims=(64, 128, 256, 360))


def meta_spikeformer_31m(classes: int = 1000) -> MetaSpikeFormer:
    """The paper's network of 31.3 million parameters."""
    return MetaSpikeFormer(classes=classes, dims=(96, 192, 384, 480))


def meta_spikeformer_55m(classes: int = 1000) -> MetaSpikeFormer:
    """The paper's network of 55.4 million parameters."""
    return MetaSpikeFormer(classes=classes, dims=(128, 256, 512, 640))
