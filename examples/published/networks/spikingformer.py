"""Spikingformer (Zhou et al., 2023), laid out as its authors' code has it.

The code is at github.com/zhouchenlin2096/Spikingformer, with one file each for CIFAR-10, ImageNet,
CIFAR10-DVS and DVS128 Gesture, and once more at github.com/zhouchenlin2096/Spikingformer-CML with
ConvBN-MaxPooling-LIF.

Neurons come first in every layer, so that the residual sums are of membrane potentials, and the
head reads their mean. Pools halve spikes, behind the neurons; in the variant potentials, before.
Activations are [T, B, C, H, W].
"""

from spikingjelly.activation_based import neuron
from torch import Tensor, nn


def lif(tau: float, v_threshold: float = 1.0) -> neuron.LIFNode:
    """The neuron of every layer."""
    return neuron.LIFNode(tau=tau, v_threshold=v_threshold, detach_reset=True, step_mode="m")


class SpikingTokenizer(nn.Module):
    """Five convolutions, of which those in `pooled` see an image half as large.

    The pool comes between neurons and convolution, in the variant before the neurons.
    """

    def __init__(self, channels, dim, tau, pooled, cml):
        super().__init__()
        self.pooled, self.cml = pooled, cml
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.lifs, self.convs, self.norms = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for i, features in enumerate((dim // 8, dim // 4, dim // 2, dim, dim)):
            self.lifs.append(lif(tau) if i > 0 else nn.Identity())
            self.convs.append(nn.Conv2d(channels, features, 3, padding=1, bias=False))
            self.norms.append(nn.BatchNorm2d(features))
            channels = features

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] -> [T, B, D, h, w]."""
        T, B, _, H, W = x.shape
        for i, (neurons, conv, norm) in enumerate(
            zip(self.lifs, self.convs, self.norms, strict=True)
        ):
            x = neurons(x).flatten(0, 1)
            if i in self.pooled and not self.cml:
                x, H, W = self.pool(x), H // 2, W // 2
            x = norm(conv(x))
            if i + 1 in self.pooled and self.cml:
                x, H, W = self.pool(x), H // 2, W // 2
            x = x.reshape(T, B, -1, H, W)
        return x


class Heads(nn.Module):
    """The queries, keys or values of every head."""

    def __init__(self, dim, heads, tau):
        super().__init__()
        self.heads = heads
        self.conv, self.norm = nn.Conv1d(dim, dim, 1, bias=False), nn.BatchNorm1d(dim)
        self.lif = lif(tau)

    def forward(self, x: Tensor, shape) -> Tensor:
        """[T * B, C, N], where shape is [T, B, C, N] -> [T, B, heads, N, C / heads]."""
        T, B, C, N = shape
        y = self.lif(self.norm(self.conv(x)).reshape(T, B, C, N))
        y = y.transpose(-1, -2).reshape(T, B, N, self.heads, C // self.heads)
        return y.permute(0, 1, 3, 2, 4)


class SpikingSelfAttention(nn.Module):
    """Spiking self-attention of potentials; `kv_first` multiplies keys and values first."""

    def __init__(self, dim, heads, tau, kv_first):
        super().__init__()
        self.kv_first = kv_first
        self.input_lif = lif(tau)
        self.q, self.k, self.v = (Heads(dim, heads, tau) for _ in range(3))
        self.attn_lif = lif(tau, 0.5)
        self.proj, self.norm = nn.Conv1d(dim, dim, 1), nn.BatchNorm1d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] -> [T, B, C, H, W]."""
        lines = self.input_lif(x).flatten(3)
        tokens = lines.flatten(0, 1)
        q, k, v = (layer(tokens, lines.shape) for layer in (self.q, self.k, self.v))
        if self.kv_first:
            y = (q @ (k.transpose(-2, -1) @ v)) * 0.125
        else:
            y = ((q @ k.transpose(-2, -1)) @ v) * 0.125
        y = self.attn_lif(y.transpose(3, 4).reshape(lines.shape))
        return self.norm(self.proj(y.flatten(0, 1))).reshape(x.shape)


class MLP(nn.Module):
    """Two pointwise convolutions of images, neurons first."""

    def __init__(self, dim, tau):
        super().__init__()
        self.lif1, self.conv1 = lif(tau), nn.Conv2d(dim, 4 * dim, 1)
        self.norm1 = nn.BatchNorm2d(4 * dim)
        self.lif2, self.conv2 = lif(tau), nn.Conv2d(4 * dim, dim, 1)
        self.norm2 = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] -> [T, B, C, H, W]."""
        T, B, C, H, W = x.shape
        y = self.norm1(self.conv1(self.lif1(x).flatten(0, 1))).reshape(T, B, 4 * C, H, W)
        return self.norm2(self.conv2(self.lif2(y).flatten(0, 1))).reshape(T, B, C, H, W)


class SpikingTransformer(nn.Module):
    """Sums of potentials around attention and around the MLP."""

    def __init__(self, dim, heads, tau, kv_first):
        super().__init__()
        self.attention = SpikingSelfAttention(dim, heads, tau, kv_first)
        self.mlp = MLP(dim, tau)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] -> [T, B, C, H, W]."""
        x = x + self.attention(x)
        return x + self.mlp(x)


class Spikingformer(nn.Module):
    """Tokenizer, blocks, and a head on the mean of potentials."""

    def __init__(
        self,
        channels: int,
        classes: int,
        dim: int,
        depth: int,
        heads: int,
        pooled: tuple[int, ...] = (1, 2, 3, 4),
        time_steps: int | None = None,
        tau: float = 2.0,
        kv_first: bool = False,
        cml: bool = False,
    ) -> None:
        super().__init__()
        self.time_steps = time_steps
        self.patch_embed = SpikingTokenizer(channels, dim, tau, pooled, cml)
        self.blocks = nn.Sequential(
            *(SpikingTransformer(dim, heads, tau, kv_first) for _ in range(depth))
        )
        self.head = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W], repeated `time_steps` times, or frames [B, T, C, H, W] -> [B, classes]."""
        if self.time_steps is None:
            x = x.permute(1, 0, 2, 3, 4)
        else:
            x = x.unsqueeze(0).repeat(self.time_steps, 1, 1, 1, 1)
        x = self.blocks(self.patch_embed(x)).flatten(3).mean(3)
        return self.head(x.mean(0))


def spikingformer_cifar10(small: bool, cml: bool = False):
    """Spikingformer-4-384 of the directory cifar10."""
    if small:
        net = Spikingformer(3, 10, 40, 2, 5, pooled=(3, 4), time_steps=3, cml=cml)
        return net, (1, 3, 16, 16)
    net = Spikingformer(3, 10, 384, 4, 12, pooled=(3, 4), time_steps=4, cml=cml)
    return net, (1, 3, 32, 32)


def spikingformer_imagenet(small: bool, cml: bool = False):
    """Spikingformer-8-512 of the directory imagenet."""
    if small:
        net = Spikingformer(3, 10, 48, 2, 3, time_steps=2, kv_first=True, cml=cml)
        return net, (1, 3, 32, 32)
    net = Spikingformer(3, 1000, 512, 8, 8, time_steps=4, kv_first=True, cml=cml)
    return net, (1, 3, 224, 224)


def spikingformer_cifar10dvs(small: bool, classes: int = 10, cml: bool = False):
    """Spikingformer-2-256 of the directory cifar10-dvs, and of dvs128-gesture with 11 classes."""
    tau = 1.75 if cml else 1.5
    if small:
        return Spikingformer(2, classes, 32, 2, 4, tau=tau, cml=cml), (1, 4, 2, 32, 32)
    return Spikingformer(2, classes, 256, 2, 16, tau=tau, cml=cml), (1, 16, 2, 128, 128)


NETWORKS = {
    "spikingformer-cifar10": spikingformer_cifar10,
    "spikingformer-imagenet": spikingformer_imagenet,
    "spikingformer-cifar10dvs": spikingformer_cifar10dvs,
    "spikingformer-dvs128gesture": lambda small: spikingformer_cifar10dvs(small, 11),
    "spikingformer-cml-cifar10": lambda small: spikingformer_cifar10(small, cml=True),
    "spikingformer-cml-imagenet": lambda small: spikingformer_imagenet(small, cml=True),
    "spikingformer-cml-cifar10dvs": lambda small: spikingformer_cifar10dvs(small, cml=True),
    "spikingformer-cml-dvs128gesture": lambda small: spikingformer_cifar10dvs(small, 11, cml=True),
}
