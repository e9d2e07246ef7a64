"""Spike-driven Transformer (Yao et al., NeurIPS 2023), in the order of its authors' code.

The order of operations is that of github.com/BICLab/Spike-Driven-Transformer: its tokenizer with
a pool after any of four convolutions, attention by masks, which is pooled too for CIFAR10-DVS, and
a head whose classes are averaged over time, or given step by step for its TET loss.
"""

from __future__ import annotations

from itertools import pairwise

from spikingjelly.activation_based import neuron
from torch import Tensor, nn


def lif(threshold: float = 1.0) -> neuron.LIFNode:
    """The neuron of every layer."""
    return neuron.LIFNode(tau=2.0, v_threshold=threshold, detach_reset=True, step_mode="m")


class Tokenizer(nn.Module):
    """Four convolutions, and a fifth around a membrane shortcut.

    `pooling` has a digit for each of the four, 1 where it pools: after the neurons of the first
    three, and before those of the fourth.
    """

    def __init__(self, channels: int, dim: int, pooling: str) -> None:
        super().__init__()
        widths = (channels, dim // 8, dim // 4, dim // 2, dim)
        self.convs = nn.ModuleList(
            nn.Conv2d(c, n, 3, padding=1, bias=False) for c, n in pairwise(widths)
        )
        self.bns = nn.ModuleList(nn.BatchNorm2d(n) for n in widths[1:])
        self.lifs = nn.ModuleList(lif() for _ in range(4))
        self.pools = nn.ModuleList(
            nn.MaxPool2d(3, stride=2, padding=1) if digit == "1" else nn.Identity()
            for digit in pooling
        )
        self.rpe_conv = nn.Conv2d(dim, dim, 3, padding=1, bias=False)
        self.rpe_bn = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Frames [T, B, C, H, W] -> potentials [T, B, dim, h, w]."""
        T, B = x.shape[:2]
        x = x.flatten(0, 1)
        for i in range(3):
            x = self.bns[i](self.convs[i](x))
            x = self.lifs[i](x.reshape(T, B, *x.shape[1:]).contiguous())
            x = self.pools[i](x.flatten(0, 1).contiguous())
        x = shortcut = self.pools[3](self.bns[3](self.convs[3](x)))
        x = self.lifs[3](x.reshape(T, B, *x.shape[1:]).contiguous())
        x = self.rpe_bn(self.rpe_conv(x.flatten(0, 1).contiguous()))
        return (x + shortcut).reshape(T, B, *x.shape[1:]).contiguous()


class Attention(nn.Module):
    """Channels of q where k and v fire together often enough, with a membrane shortcut.

    For event cameras k and v are pooled as images, and k * v and what comes out as images of
    tokens and of a head's channels.
    """

    def __init__(self, dim: int, heads: int, events: bool) -> None:
        super().__init__()
        self.heads = heads
        self.shortcut_lif, self.talking_heads_lif = lif(), lif(0.5)
        self.q_conv, self.k_conv, self.v_conv = (
            nn.Conv2d(dim, dim, 1, bias=False) for _ in range(3)
        )
        self.q_bn, self.k_bn, self.v_bn = (nn.BatchNorm2d(dim) for _ in range(3))
        self.q_lif, self.k_lif, self.v_lif = (lif() for _ in range(3))
        self.pool = nn.MaxPool3d((1, 3, 3), 1, (0, 1, 1)) if events else nn.Identity()
        self.proj_conv, self.proj_bn = nn.Conv2d(dim, dim, 1), nn.BatchNorm2d(dim)

    def split(self, x: Tensor) -> Tensor:
        """Images [T, B, C, H, W] -> tokens of every head [T, B, heads, H * W, C / heads]."""
        T, B, C, H, W = x.shape
        x = x.flatten(3).transpose(-1, -2).reshape(T, B, H * W, self.heads, C // self.heads)
        return x.permute(0, 1, 3, 2, 4).contiguous()

    def forward(self, x: Tensor) -> Tensor:
        """Potentials [T, B, C, H, W] -> potentials of that shape."""
        shape, shortcut = x.shape, x
        x = self.shortcut_lif(x).flatten(0, 1)
        q = self.q_lif(self.q_bn(self.q_conv(x)).reshape(shape).contiguous())
        k = self.k_lif(self.k_bn(self.k_conv(x)).reshape(shape).contiguous())
        v = self.v_lif(self.v_bn(self.v_conv(x)).reshape(shape).contiguous())
        q, k, v = self.split(q), self.split(self.pool(k)), self.split(self.pool(v))
        kv = self.pool(k.mul(v)).sum(dim=-2, keepdim=True)
        x = self.pool(q.mul(self.talking_heads_lif(kv)))
        x = x.transpose(3, 4).reshape(shape).contiguous()
        x = self.proj_bn(self.proj_conv(x.flatten(0, 1))).reshape(shape).contiguous()
        return x + shortcut


class MLP(nn.Module):
    """Two pointwise convolutions with a membrane shortcut."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1_lif, self.fc2_lif = lif(), lif()
        self.fc1_conv, self.fc1_bn = nn.Conv2d(dim, hidden, 1), nn.BatchNorm2d(hidden)
        self.fc2_conv, self.fc2_bn = nn.Conv2d(hidden, dim, 1), nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Potentials [T, B, C, H, W] -> potentials of that shape."""
        T, B, C, H, W = x.shape
        shortcut = x
        x = self.fc1_bn(self.fc1_conv(self.fc1_lif(x).flatten(0, 1)))
        x = self.fc2_lif(x.reshape(T, B, -1, H, W).contiguous())
        x = self.fc2_bn(self.fc2_conv(x.flatten(0, 1)))
        return x.reshape(T, B, C, H, W).contiguous() + shortcut


class SpikeDrivenTransformer(nn.Module):
    """An image [B, C, H, W], or frames [B, T, C, H, W] -> logits [B, classes].

    With `each_step`, as its TET loss takes them, logits are [T, B, classes].
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        pooling: str,
        classes: int = 10,
        channels: int = 3,
        heads: int = 8,
        time_steps: int = 4,
        events: bool = False,
        each_step: bool = False,
    ) -> None:
        super().__init__()
        self.time_steps, self.each_step = time_steps, each_step
        self.patch_embed = Tokenizer(channels, dim, pooling)
        self.block = nn.ModuleList(
            nn.Sequential(Attention(dim, heads, events), MLP(dim, 4 * dim)) for _ in range(depth)
        )
        self.head_lif, self.head = lif(), nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Repeat an image over time, or put time before the batch; then logits."""
        if x.dim() < 5:
            x = x.unsqueeze(0).repeat(self.time_steps, 1, 1, 1, 1)
        else:
            x = x.transpose(0, 1).contiguous()
        x = self.patch_embed(x)
        for block in self.block:
            x = block(x)
        x = self.head(self.head_lif(x.flatten(3).mean(3)))
        return x if self.each_step else x.mean(0)


def sdt_cifar10(small: bool, each_step: bool = False) -> tuple[nn.Module, tuple[int, ...]]:
    """CIFAR-10, whose first two convolutions do not pool."""
    dim, depth, size, steps = (40, 1, 16, 3) if small else (512, 2, 32, 4)
    network = SpikeDrivenTransformer(dim, depth, "0011", time_steps=steps, each_step=each_step)
    return network, (1, 3, size, size)


def sdt_cifar10_tet(small: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """CIFAR-10, with logits at every time step."""
    return sdt_cifar10(small, each_step=True)


def sdt_imagenet(small: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """ImageNet, the network of 29.7 million parameters."""
    dim, depth, size, classes = (48, 2, 32, 10) if small else (512, 8, 224, 1000)
    network = SpikeDrivenTransformer(dim, depth, "1111", classes, time_steps=2 if small else 4)
    return network, (1, 3, size, size)


def sdt_cifar10_dvs(small: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """CIFAR10-DVS, which alone of its data sets pools in the attention."""
    dim, depth, size, steps = (40, 1, 16, 3) if small else (256, 2, 64, 10)
    network = SpikeDrivenTransformer(dim, depth, "0011", channels=2, events=True)
    return network, (1, steps, 2, size, size)


def sdt_gesture(small: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """DVS128 Gesture."""
    dim, depth, size, steps = (64, 1, 32, 4) if small else (256, 2, 128, 16)
    network = SpikeDrivenTransformer(dim, depth, "0111", classes=11, channels=2)
    return network, (1, steps, 2, size, size)


NETWORKS = {
    "sdt-cifar10": sdt_cifar10,
    "sdt-cifar10-tet": sdt_cifar10_tet,
    "sdt-imagenet": sdt_imagenet,
    "sdt-cifar10dvs": sdt_cifar10_dvs,
    "sdt-gesture": sdt_gesture,
}
