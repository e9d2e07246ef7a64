"""Spike-driven Transformer V2, Meta-SpikeFormer (Yao et al., ICLR 2024), as its authors order it.

The order of operations is that of the classification model of
github.com/BICLab/Spike-Driven-Transformer-V2. Its head reads potentials; trained with
distillation, the mean of that and of a second head behind neurons is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn
from torch.nn import functional


def lif(threshold: float = 1.0) -> neuron.LIFNode:
    """The neuron of every layer."""
    return neuron.LIFNode(tau=2.0, v_threshold=threshold, detach_reset=True, step_mode="m")


class BNAndPad(nn.Module):
    """BatchNorm, and a border of what it gives for 0, written pixel by pixel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] -> images [B, C, H + 2, W + 2]."""
        bn = self.bn
        x = functional.pad(bn(x), [1] * 4)
        scale = bn.weight.detach() / torch.sqrt(bn.running_var + bn.eps)
        border = (bn.bias.detach() - bn.running_mean * scale).view(1, -1, 1, 1)
        x[:, :, 0:1, :] = border
        x[:, :, -1:, :] = border
        x[:, :, :, 0:1] = border
        x[:, :, :, -1:] = border
        return x


def rep_conv(dim: int) -> nn.Sequential:
    """A pointwise, a depthwise and a pointwise convolution without neurons between."""
    depthwise = nn.Conv2d(dim, dim, 3, groups=dim, bias=False)
    pointwise = nn.Conv2d(dim, dim, 1, bias=False)
    body = nn.Sequential(
        nn.Conv2d(dim, dim, 1, bias=False),
        BNAndPad(dim),
        nn.Sequential(depthwise, pointwise, nn.BatchNorm2d(dim)),
    )
    return nn.Sequential(body, nn.BatchNorm2d(dim))


class SepConv(nn.Module):
    """A separable convolution: neurons before the pointwise and the depthwise one."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.lif1, self.lif2 = lif(), lif()
        self.pwconv1, self.bn1 = nn.Conv2d(dim, 2 * dim, 1, bias=False), nn.BatchNorm2d(2 * dim)
        self.dwconv = nn.Conv2d(2 * dim, 2 * dim, 7, padding=3, groups=2 * dim, bias=False)
        self.pwconv2, self.bn2 = nn.Conv2d(2 * dim, dim, 1, bias=False), nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Potentials [T, B, C, H, W] -> potentials of that shape."""
        T, B, _, H, W = x.shape
        x = self.bn1(self.pwconv1(self.lif1(x).flatten(0, 1))).reshape(T, B, -1, H, W)
        x = self.dwconv(self.lif2(x).flatten(0, 1))
        return self.bn2(self.pwconv2(x)).reshape(T, B, -1, H, W)


class ConvBlock(nn.Module):
    """A separable convolution, then two of 3 x 3, each with a membrane shortcut."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = SepConv(dim)
        self.lif1, self.lif2 = lif(), lif()
        self.conv1 = nn.Conv2d(dim, 4 * dim, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(4 * dim, dim, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(4 * dim), nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Potentials [T, B, C, H, W] -> potentials of that shape."""
        T, B, C, H, W = x.shape
        x = shortcut = self.conv(x) + x
        x = self.bn1(self.conv1(self.lif1(x).flatten(0, 1))).reshape(T, B, 4 * C, H, W)
        x = self.bn2(self.conv2(self.lif2(x).flatten(0, 1))).reshape(T, B, C, H, W)
        return shortcut + x


class Attention(nn.Module):
    """Q (K^T V), with a RepConv before each and behind."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.head_lif, self.attn_lif = lif(), lif(0.5)
        self.q_conv, self.k_conv, self.v_conv, self.proj_conv = (rep_conv(dim) for _ in range(4))
        self.q_lif, self.k_lif, self.v_lif = (lif() for _ in range(3))

    def split(self, x: Tensor) -> Tensor:
        """Images [T, B, C, H, W] -> tokens of every head [T, B, heads, H * W, C / heads]."""
        T, B, C, H, W = x.shape
        x = x.flatten(3).transpose(-1, -2).reshape(T, B, H * W, self.heads, C // self.heads)
        return x.permute(0, 1, 3, 2, 4).contiguous()

    def forward(self, x: Tensor) -> Tensor:
        """Potentials [T, B, C, H, W] -> potentials of that shape."""
        T, B, C, H, W = x.shape
        x = self.head_lif(x)
        q = self.q_conv(x.flatten(0, 1)).reshape(T, B, C, H, W)
        k = self.k_conv(x.flatten(0, 1)).reshape(T, B, C, H, W)
        v = self.v_conv(x.flatten(0, 1)).reshape(T, B, C, H, W)
        q = self.split(self.q_lif(q))
        k = self.split(self.k_lif(k))
        v = self.split(self.v_lif(v))
        x = (q @ (k.transpose(-2, -1) @ v)) * 0.125
        x = x.transpose(3, 4).reshape(T, B, C, H * W).contiguous()
        x = self.attn_lif(x).reshape(T, B, C, H, W)
        return self.proj_conv(x.flatten(0, 1)).reshape(T, B, C, H, W)


class MLP(nn.Module):
    """Two convolutions of tokens, of one dimension."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1_lif, self.fc2_lif = lif(), lif()
        self.fc1_conv, self.fc1_bn = nn.Conv1d(dim, 4 * dim, 1), nn.BatchNorm1d(4 * dim)
        self.fc2_conv, self.fc2_bn = nn.Conv1d(4 * dim, dim, 1), nn.BatchNorm1d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Potentials [T, B, C, H, W] -> potentials of that shape."""
        T, B, C, H, W = x.shape
        x = self.fc1_bn(self.fc1_conv(self.fc1_lif(x.flatten(3)).flatten(0, 1)))
        x = self.fc2_lif(x.reshape(T, B, 4 * C, H * W).contiguous())
        x = self.fc2_bn(self.fc2_conv(x.flatten(0, 1)))
        return x.reshape(T, B, C, H, W).contiguous()


class Block(nn.Module):
    """Attention and MLP, each with a membrane shortcut."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attn, self.mlp = Attention(dim, heads), MLP(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Potentials [T, B, C, H, W] -> potentials of that shape."""
        x = x + self.attn(x)
        return x + self.mlp(x)


class DownSampling(nn.Module):
    """A convolution, behind neurons but for the first."""

    def __init__(self, before: int, dim: int, kernel: int = 3, stride: int = 2) -> None:
        super().__init__()
        self.encode_lif = lif() if kernel == 3 else nn.Identity()
        self.encode_conv = nn.Conv2d(before, dim, kernel, stride, kernel // 2)
        self.encode_bn = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Frames or potentials [T, B, C, H, W] -> potentials [T, B, dim, h, w]."""
        T, B = x.shape[:2]
        x = self.encode_conv(self.encode_lif(x).flatten(0, 1))
        return self.encode_bn(x).reshape(T, B, *x.shape[1:]).contiguous()


class MetaSpikeFormer(nn.Module):
    """An image [B, 3, H, W] -> logits [B, classes].

    Four stages: of convolution blocks at a half and a quarter of the image's size, and at an
    eighth, and of attention blocks at a sixteenth, two of them.
    """

    def __init__(
        self,
        dims: Sequence[int],
        depths: Sequence[int],
        heads: int,
        classes: int,
        time_steps: int,
        distilled: bool,
    ) -> None:
        super().__init__()
        self.time_steps = time_steps
        half = dims[0] // 2
        self.stages = nn.Sequential(
            DownSampling(3, half, kernel=7),
            ConvBlock(half),
            DownSampling(half, dims[0]),
            ConvBlock(dims[0]),
            DownSampling(dims[0], dims[1]),
            ConvBlock(dims[1]),
            ConvBlock(dims[1]),
            DownSampling(dims[1], dims[2]),
            *(Block(dims[2], heads) for _ in range(depths[0])),
            DownSampling(dims[2], dims[3], stride=1),
            *(Block(dims[3], heads) for _ in range(depths[1])),
        )
        self.lif, self.head = lif(), nn.Linear(dims[3], classes)
        self.head_kd = nn.Linear(dims[3], classes) if distilled else None

    def forward(self, x: Tensor) -> Tensor:
        """Repeat an image over time; then logits."""
        x = x.unsqueeze(0).repeat(self.time_steps, 1, 1, 1, 1)
        x = self.stages(x).flatten(3).mean(3)
        spikes = self.lif(x)  # which nobody reads where there is no second head
        x = self.head(x).mean(0)
        return x if self.head_kd is None else (x + self.head_kd(spikes).mean(0)) / 2


def meta_spikeformer(small: bool, distilled: bool = False) -> tuple[nn.Module, tuple[int, ...]]:
    """ImageNet, the network of 55.4 million parameters, which is trained for one time step."""
    if small:  # of few and wide heads, whose products of queries, keys and values do fire
        dims, depths, heads, classes, steps, size = (16, 24, 40, 48), (1, 1), 2, 10, 4, 32
    else:
        dims, depths, heads, classes, size = (128, 256, 512, 640), (6, 2), 8, 1000, 224
        steps = 4 if distilled else 1
    network = MetaSpikeFormer(dims, depths, heads, classes, steps, distilled)
    return network, (1, 3, size, size)


def meta_spikeformer_distilled(small: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """The network that is trained on for four time steps, with a teacher."""
    return meta_spikeformer(small, distilled=True)


NETWORKS = {
    "meta-spikeformer": meta_spikeformer,
    "meta-spikeformer-distilled": meta_spikeformer_distilled,
}
