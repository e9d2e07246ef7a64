"""Spike-driven Transformer V3, E-SpikeFormer (Yao et al., TPAMI 2025), as its authors order it.

The order of operations is that of the classification models of
github.com/BICLab/Spike-Driven-Transformer-V3: its networks of 5 to 19 million parameters, which
have no time axis, and that of 172 million, whose image is one time step. Neurons keep nothing from
one step to the next, and give integers from 0 to 4, over 4; in hardware, that many spikes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from spikingjelly.activation_based import layer
from torch import Tensor, nn
from torch.autograd.function import Function, FunctionCtx

LEVELS = 4


class Rounded(Function):
    """The nearest integer from 0 to `LEVELS`, the even one of two that are as near."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        """Round; halves go to the even neighbour."""
        ctx.save_for_backward(x)
        return torch.round(torch.clamp(x, min=0, max=LEVELS))

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        """The gradient, where nothing was clamped."""
        (x,) = ctx.saved_tensors
        return gradient * ((x >= 0) & (x <= LEVELS))


class Floored(Function):
    """The nearest integer from 0 to `LEVELS`, the larger of two that are as near."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        """Add a half and round down."""
        ctx.save_for_backward(x)
        return torch.floor(torch.clamp(x, 0, LEVELS) + 0.5)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        """The gradient, where nothing was clamped."""
        (x,) = ctx.saved_tensors
        return gradient * ((x > 0) & (x < LEVELS))


class MultiSpike(nn.Module):
    """Integer neurons: an integer from 0 to `LEVELS`, over `norm`."""

    def __init__(self, function: type[Function] = Rounded, norm: int = LEVELS) -> None:
        super().__init__()
        self.function, self.norm = function, norm

    def forward(self, x: Tensor) -> Tensor:
        """Potentials of any shape -> integers over `norm`, of that shape."""
        return self.function.apply(x) / self.norm


def conv_bn(before: int, dim: int, kernel: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution and its BatchNorm."""
    conv = nn.Conv2d(before, dim, kernel, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(dim))


class SepConv(nn.Module):
    """A separable convolution with neurons before each of its three."""

    def __init__(self, dim: int, kernel: int = 7) -> None:
        super().__init__()
        wide = 2 * dim
        self.spike1, self.spike2, self.spike3 = (MultiSpike() for _ in range(3))
        self.pwconv1 = conv_bn(dim, wide)
        self.dwconv = conv_bn(wide, wide, kernel, groups=wide)
        self.pwconv2 = conv_bn(wide, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Potentials [B, C, H, W] -> potentials of that shape."""
        x = self.pwconv1(self.spike1(x))
        x = self.dwconv(self.spike2(x))
        return self.pwconv2(self.spike3(x))


class ConvBlock(nn.Module):
    """A separable convolution, then two of 3 x 3, each with a membrane shortcut."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = SepConv(dim)
        self.spike1, self.spike2 = MultiSpike(), MultiSpike()
        self.conv1, self.conv2 = conv_bn(dim, 4 * dim, 3), conv_bn(4 * dim, dim, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Potentials [B, C, H, W] -> potentials of that shape."""
        x = shortcut = self.conv(x) + x
        x = self.conv1(self.spike1(x))
        return shortcut + self.conv2(self.spike2(x))


class LinearAttention(nn.Module):
    """(Q K^T) V, whose values are four times as wide as queries and keys."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (dim // heads) ** -0.5 * 2
        self.head_spike, self.attn_spike = MultiSpike(), MultiSpike()
        self.q_conv, self.k_conv, self.v_conv = (conv_bn(dim, n * dim) for n in (1, 1, 4))
        self.q_spike, self.k_spike, self.v_spike = (MultiSpike() for _ in range(3))
        self.proj_conv = conv_bn(4 * dim, dim)

    def split(self, x: Tensor) -> Tensor:
        """Images [B, C, H, W] -> tokens of every head [B, heads, H * W, C / heads]."""
        B, C, H, W = x.shape
        x = x.flatten(2).transpose(-1, -2).reshape(B, H * W, self.heads, C // self.heads)
        return x.permute(0, 2, 1, 3).contiguous()

    def forward(self, x: Tensor) -> Tensor:
        """Potentials [B, C, H, W] -> potentials of that shape."""
        B, C, H, W = x.shape
        x = self.head_spike(x)
        q, k, v = self.q_conv(x), self.k_conv(x), self.v_conv(x)
        q, k = self.split(self.q_spike(q)), self.split(self.k_spike(k))
        v = self.split(self.v_spike(v))
        x = ((q @ k.transpose(-2, -1)) @ v) * self.scale
        x = x.transpose(2, 3).reshape(B, 4 * C, H * W).contiguous()
        return self.proj_conv(self.attn_spike(x).reshape(B, 4 * C, H, W)).reshape(B, C, H, W)


class MLP(nn.Module):
    """Two convolutions of tokens, of one dimension."""

    def __init__(self, dim: int, function: type[Function] = Rounded) -> None:
        super().__init__()
        self.fc1_spike, self.fc2_spike = MultiSpike(function), MultiSpike(function)
        self.fc1_conv, self.fc1_bn = nn.Conv1d(dim, 4 * dim, 1), nn.BatchNorm1d(4 * dim)
        self.fc2_conv, self.fc2_bn = nn.Conv1d(4 * dim, dim, 1), nn.BatchNorm1d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Potentials of images [B, C, H, W] -> potentials of that shape."""
        shape = x.shape
        x = self.fc1_bn(self.fc1_conv(self.fc1_spike(x.flatten(2))))
        x = self.fc2_bn(self.fc2_conv(self.fc2_spike(x)))
        return x.reshape(shape).contiguous()


class TimedMLP(MLP):
    """The same with a time axis."""

    def forward(self, x: Tensor) -> Tensor:
        """Potentials of tokens [T, B, C, N] -> potentials of that shape."""
        T, B, C, N = x.shape
        x = self.fc1_bn(self.fc1_conv(self.fc1_spike(x).flatten(0, 1)))
        x = self.fc2_spike(x.reshape(T, B, 4 * C, N).contiguous())
        x = self.fc2_bn(self.fc2_conv(x.flatten(0, 1)))
        return x.reshape(T, B, C, N).contiguous()


class Block(nn.Module):
    """A separable convolution, attention and MLP, each with a membrane shortcut."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.conv, self.attn, self.mlp = SepConv(dim, 3), LinearAttention(dim, heads), MLP(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Potentials [B, C, H, W] -> potentials of that shape."""
        x = x + self.conv(x)
        x = x + self.attn(x)
        return x + self.mlp(x)


class DownSampling(nn.Module):
    """A convolution, behind neurons but for the first."""

    def __init__(self, before: int, dim: int, kernel: int = 3, stride: int = 2) -> None:
        super().__init__()
        self.encode_spike = MultiSpike() if kernel == 3 else nn.Identity()
        self.encode_conv = nn.Conv2d(before, dim, kernel, stride, kernel // 2)
        self.encode_bn = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """An image or potentials [B, C, H, W] -> potentials [B, dim, h, w]."""
        return self.encode_bn(self.encode_conv(self.encode_spike(x)))


class EfficientSpikingTransformer(nn.Module):
    """An image [B, 3, H, W] -> logits [B, classes]."""

    def __init__(
        self, dims: Sequence[int], depths: Sequence[int], heads: int, classes: int
    ) -> None:
        super().__init__()
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
        self.spike, self.head = MultiSpike(norm=1), nn.Linear(dims[3], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of integers from 0 to 4."""
        return self.head(self.spike(self.stages(x).flatten(2).mean(2)))


class TimedConvBlock(nn.Module):
    """Two convolutions of 3 x 3 with a membrane shortcut, at every time step."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.neuron1, self.neuron2 = MultiSpike(Floored), MultiSpike(Floored)
        self.conv1, self.conv2 = (
            layer.SeqToANNContainer(nn.Conv2d(c, n, 3, padding=1), nn.BatchNorm2d(n))
            for c, n in ((dim, 4 * dim), (4 * dim, dim))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Potentials [T, B, C, H, W] -> potentials of that shape."""
        return self.conv2(self.neuron2(self.conv1(self.neuron1(x)))) + x


def rep_conv(dim: int) -> nn.Sequential:
    """Two pointwise convolutions of tokens without neurons between, and three BatchNorms."""
    wide = int(1.5 * dim)
    conv1 = nn.Sequential(nn.Conv1d(dim, wide, 1, bias=False), nn.BatchNorm1d(wide))
    conv2 = nn.Sequential(nn.Conv1d(wide, dim, 1, bias=False), nn.BatchNorm1d(dim))
    return nn.Sequential(nn.Sequential(conv1, conv2), nn.BatchNorm1d(dim))


class TimedAttention(nn.Module):
    """Q (K^T V) of tokens, at every time step."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.head_lif, self.attn_lif = MultiSpike(Floored), MultiSpike(Floored)
        self.q_conv, self.k_conv, self.v_conv, self.proj_conv = (rep_conv(dim) for _ in range(4))
        self.q_lif, self.k_lif, self.v_lif = (MultiSpike(Floored) for _ in range(3))

    def split(self, x: Tensor) -> Tensor:
        """Tokens [T, B, C, N] -> tokens of every head [T, B, heads, N, C / heads]."""
        T, B, C, N = x.shape
        x = x.transpose(-1, -2).reshape(T, B, N, self.heads, C // self.heads)
        return x.permute(0, 1, 3, 2, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Potentials [T, B, C, N] -> potentials of that shape."""
        T, B, C, N = x.shape
        x = self.head_lif(x).flatten(0, 1)
        q = self.split(self.q_lif(self.q_conv(x).reshape(T, B, C, N)))
        k = self.split(self.k_lif(self.k_conv(x).reshape(T, B, C, N)))
        v = self.split(self.v_lif(self.v_conv(x).reshape(T, B, C, N)))
        x = (q @ (k.transpose(-2, -1) @ v)) * 0.125
        x = self.attn_lif(x.transpose(3, 4).reshape(T, B, C, N))
        return self.proj_conv(x.flatten(0, 1)).reshape(T, B, C, N)


class TimedBlock(nn.Module):
    """Attention and MLP, scaled by channel, each with a membrane shortcut."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attn, self.mlp = TimedAttention(dim, heads), TimedMLP(dim, Floored)
        # The published code starts these at 1e-6, where the block does nothing before training.
        self.layer_scale1 = nn.Parameter(torch.full((dim,), 0.5))
        self.layer_scale2 = nn.Parameter(torch.full((dim,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        """Potentials [T, B, C, N] -> potentials of that shape."""
        x = x + self.attn(x) * self.layer_scale1.unsqueeze(0).unsqueeze(0).unsqueeze(-1)
        return x + self.mlp(x) * self.layer_scale2.unsqueeze(0).unsqueeze(0).unsqueeze(-1)


class TimedDownSampling(DownSampling):
    """The same with a time axis."""

    def __init__(self, before: int, dim: int, kernel: int = 3) -> None:
        super().__init__(before, dim, kernel)
        self.encode_spike = MultiSpike(Floored) if kernel == 3 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """An image or potentials [T, B, C, H, W] -> potentials [T, B, dim, h, w]."""
        T, B = x.shape[:2]
        x = self.encode_conv(self.encode_spike(x).flatten(0, 1))
        return self.encode_bn(x).reshape(T, B, *x.shape[1:]).contiguous()


class LargeESpikeFormer(nn.Module):
    """An image [B, 3, H, W] -> logits [B, classes], the mean of two heads.

    One reads potentials, the other, trained by a teacher, integers.
    """

    def __init__(self, dims: Sequence[int], depth: int, heads: int, classes: int) -> None:
        super().__init__()
        half = dims[0] // 2
        self.stages = nn.Sequential(
            TimedDownSampling(3, half, kernel=7),
            TimedConvBlock(half),
            TimedDownSampling(half, dims[0]),
            TimedConvBlock(dims[0]),
            TimedDownSampling(dims[0], dims[1]),
            TimedConvBlock(dims[1]),
            TimedConvBlock(dims[1]),
            TimedDownSampling(dims[1], dims[2]),
            nn.Flatten(3),
            *(TimedBlock(dims[2], heads) for _ in range(depth)),
        )
        self.lif = MultiSpike(Floored, norm=1)
        self.head, self.head_kd = nn.Linear(dims[2], classes), nn.Linear(dims[2], classes)

    def forward(self, x: Tensor) -> Tensor:
        """An image as one time step; then logits."""
        x = x.unsqueeze(0).repeat(1, 1, 1, 1, 1)
        x = self.stages(x).flatten(3).mean(3)
        spikes = self.lif(x)
        return (self.head(x).mean(0) + self.head_kd(spikes).mean(0)) / 2


def e_spikeformer(small: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """ImageNet, the network of 19.0 million parameters."""
    if small:
        dims, depths, heads, classes, size = (16, 24, 40, 48), (1, 1), 2, 10, 32
    else:
        dims, depths, heads, classes, size = (64, 128, 256, 360), (6, 2), 8, 1000, 224
    return EfficientSpikingTransformer(dims, depths, heads, classes), (1, 3, size, size)


def e_spikeformer_large(small: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """ImageNet, the network of 172 million parameters, after its pretraining."""
    if small:  # of few and wide heads, whose products of queries, keys and values do fire
        dims, depth, heads, classes, size = (16, 24, 40), 1, 2, 10, 32
    else:
        dims, depth, heads, classes, size = (196, 384, 768), 12, 8, 1000, 224
    return LargeESpikeFormer(dims, depth, heads, classes), (1, 3, size, size)


NETWORKS = {"e-spikeformer": e_spikeformer, "e-spikeformer-large": e_spikeformer_large}
