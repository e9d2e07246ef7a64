"""Spikformer (Zhou et al., ICLR 2023), laid out as its authors' code has it.

The code is at github.com/ZK-Zhou/spikformer, with one file for CIFAR-10, one for ImageNet and one
for CIFAR10-DVS; a fourth, at the top, is for CIFAR-10 in ImageNet's layout, but with q k^T first.
DVS128 Gesture is in the paper only, and here CIFAR10-DVS's network with 11 classes. The variant
with ConvBN-MaxPooling-LIF is at github.com/zhouchenlin2096/Spikingformer-CML.

CIFAR-10 has tokens [T, B, N, C] and linear layers, and scales q k^T before it meets v. CIFAR10-DVS
has lines [T, B, C, N] and convolutions along them. ImageNet has images [T, B, C, H, W] outside
attention, and multiplies k^T v first.
"""

from spikingjelly.activation_based import neuron
from torch import Tensor, nn


def lif(v_threshold: float = 1.0) -> neuron.LIFNode:
    """The neuron of every layer."""
    return neuron.LIFNode(tau=2.0, v_threshold=v_threshold, detach_reset=True, step_mode="m")


class ConvNeuron(nn.Module):
    """Convolution and BatchNorm with time in the batch, then neurons on a shape with time."""

    def __init__(self, conv, norm):
        super().__init__()
        self.conv, self.norm, self.lif = conv, norm, lif()

    def forward(self, x: Tensor, shape) -> Tensor:
        """[T * B, C, ...] -> shape."""
        return self.lif(self.norm(self.conv(x)).reshape(shape).contiguous())


class LinearNeuron(nn.Module):
    """Linear layer on tokens, BatchNorm on their transpose, then neurons on a shape with time."""

    def __init__(self, features, out_features):
        super().__init__()
        self.linear, self.norm = nn.Linear(features, out_features), nn.BatchNorm1d(out_features)
        self.lif = lif()

    def forward(self, x: Tensor, shape) -> Tensor:
        """[T * B, N, C] -> shape."""
        x = self.norm(self.linear(x).transpose(-1, -2)).transpose(-1, -2)
        return self.lif(x.reshape(shape).contiguous())


class TokenAttention(nn.Module):
    """Spiking self-attention on tokens.

    As first published, the neurons of k and v see [T, B, N, C] reshaped to [T, B, C, N], which is
    no transpose; heads are then split from [T, B, N, C] again, so that the results are the same.
    """

    def __init__(self, dim, heads, first_version):
        super().__init__()
        self.heads, self.first_version = heads, first_version
        self.q, self.k, self.v, self.proj = (LinearNeuron(dim, dim) for _ in range(4))
        self.lif = lif(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, N, C] -> [T, B, N, C]."""
        T, B, N, C = x.shape
        tokens = x.flatten(0, 1)
        shape = (T, B, C, N) if self.first_version else (T, B, N, C)
        q, k, v = (
            spikes.reshape(T, B, N, self.heads, C // self.heads).permute(0, 1, 3, 2, 4).contiguous()
            for spikes in (self.q(tokens, x.shape), self.k(tokens, shape), self.v(tokens, shape))
        )
        y = ((q @ k.transpose(-2, -1)) * 0.125) @ v
        y = self.lif(y.transpose(2, 3).reshape(T, B, N, C).contiguous())
        return self.proj(y.flatten(0, 1), (T, B, N, C))


class TokenMLP(nn.Module):
    """Two linear layers."""

    def __init__(self, dim):
        super().__init__()
        self.fc1, self.fc2 = LinearNeuron(dim, 4 * dim), LinearNeuron(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, N, C] -> [T, B, N, C]."""
        T, B, N, C = x.shape
        y = self.fc1(x.flatten(0, 1), (T, B, N, 4 * C))
        return self.fc2(y.flatten(0, 1), (T, B, N, C))


class ConvAttention(nn.Module):
    """Spiking self-attention on lines or images, by convolutions along lines."""

    def __init__(self, dim, heads, scale, kv_first):
        super().__init__()
        self.heads, self.scale, self.kv_first = heads, scale, kv_first
        self.q, self.k, self.v, self.proj = (
            ConvNeuron(nn.Conv1d(dim, dim, 1, bias=bias), nn.BatchNorm1d(dim))
            for bias in (False, False, False, True)
        )
        self.lif = lif(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, N] or [T, B, C, H, W] -> the same."""
        lines = x.flatten(3)
        T, B, C, N = lines.shape
        q, k, v = (
            layer(lines.flatten(0, 1), (T, B, C, N))
            .transpose(-1, -2)
            .reshape(T, B, N, self.heads, C // self.heads)
            .permute(0, 1, 3, 2, 4)
            .contiguous()
            for layer in (self.q, self.k, self.v)
        )
        if self.kv_first:
            y = (q @ (k.transpose(-2, -1) @ v)) * self.scale
        else:
            y = ((q @ k.transpose(-2, -1)) @ v) * self.scale
        y = self.lif(y.transpose(3, 4).reshape(T, B, C, N).contiguous())
        return self.proj(y.flatten(0, 1), x.shape)


class ConvMLP(nn.Module):
    """Two pointwise convolutions, of lines or images."""

    def __init__(self, dim, conv, norm):
        super().__init__()
        self.fc1 = ConvNeuron(conv(dim, 4 * dim, 1), norm(4 * dim))
        self.fc2 = ConvNeuron(conv(4 * dim, dim, 1), norm(dim))

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, N] or [T, B, C, H, W] -> the same."""
        T, B, C, *size = x.shape
        y = self.fc1(x.flatten(0, 1), (T, B, 4 * C, *size))
        return self.fc2(y.flatten(0, 1), (T, B, C, *size))


class Block(nn.Module):
    """Sums of spikes around attention and around the MLP."""

    def __init__(self, attention, mlp):
        super().__init__()
        self.attention, self.mlp = attention, mlp

    def forward(self, x: Tensor) -> Tensor:
        """The same shape as x."""
        x = x + self.attention(x)
        return x + self.mlp(x)


class SpikingPatchSplitting(nn.Module):
    """Four convolutions, of which those in `pooled` halve the image, and one for positions.

    The pool comes after the neurons, in the variant between BatchNorm and neurons.
    """

    def __init__(self, channels, dim, pooled, cml):
        super().__init__()
        self.pooled, self.cml = pooled, cml
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stages = nn.ModuleList()
        for i, features in enumerate((dim // 8, dim // 4, dim // 2, dim)):
            conv = nn.Conv2d(channels, features, 3, padding=1, bias=False)
            norm = nn.BatchNorm2d(features)
            if cml and i in pooled:
                norm = nn.Sequential(norm, self.pool)
            self.stages.append(ConvNeuron(conv, norm))
            channels = features
        self.rpe = ConvNeuron(nn.Conv2d(dim, dim, 3, padding=1, bias=False), nn.BatchNorm2d(dim))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[T, B, C, H, W] -> patches [T * B, D, h, w] and positions [T, B, D, h, w]."""
        T, B, _, H, W = x.shape
        x = x.flatten(0, 1)
        for i, stage in enumerate(self.stages):
            size = (H // 2, W // 2) if i in self.pooled else (H, W)
            x = stage(x, (T, B, -1, *(size if self.cml else (H, W)))).flatten(0, 1)
            if i in self.pooled and not self.cml:
                x = self.pool(x)
            H, W = size
        return x, self.rpe(x, (T, B, -1, H, W))


class Spikformer(nn.Module):
    """Patch splitting, blocks on "tokens", "lines" or "images", and a head on mean spikes."""

    def __init__(
        self,
        layout: str,
        channels: int,
        classes: int,
        dim: int,
        depth: int,
        heads: int,
        pooled: tuple[int, ...] = (0, 1, 2, 3),
        time_steps: int | None = None,
        scale: float = 0.125,
        kv_first: bool = False,
        first_version: bool = False,
        cml: bool = False,
    ) -> None:
        super().__init__()
        self.layout, self.time_steps = layout, time_steps
        self.patch_embed = SpikingPatchSplitting(channels, dim, pooled, cml)
        self.blocks = nn.Sequential()
        for _ in range(depth):
            if layout == "tokens":
                block = Block(TokenAttention(dim, heads, first_version), TokenMLP(dim))
            else:
                block = Block(
                    ConvAttention(dim, heads, scale, kv_first),
                    ConvMLP(dim, nn.Conv1d, nn.BatchNorm1d)
                    if layout == "lines"
                    else ConvMLP(dim, nn.Conv2d, nn.BatchNorm2d),
                )
            self.blocks.append(block)
        self.head = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W], repeated `time_steps` times, or frames [B, T, C, H, W] -> [B, classes]."""
        if self.time_steps is None:
            x = x.permute(1, 0, 2, 3, 4)
        else:
            x = x.unsqueeze(0).repeat(self.time_steps, 1, 1, 1, 1)
        patches, positions = self.patch_embed(x)
        if self.layout == "lines":
            x = (patches + positions.flatten(0, 1)).reshape(*positions.shape[:3], -1).contiguous()
        else:
            x = positions + patches.reshape(positions.shape).contiguous()
        if self.layout == "tokens":
            x = self.blocks(x.flatten(-2).transpose(-1, -2)).mean(2)
        else:
            x = self.blocks(x).flatten(3).mean(3)
        return self.head(x.mean(0))


def spikformer_cifar10(small: bool, layout: str = "tokens", **variant):
    """Spikformer-4-384 of the directory cifar10."""
    if small:
        net = Spikformer(layout, 3, 10, 40, 2, 5, pooled=(2, 3), time_steps=3, **variant)
        return net, (1, 3, 16, 16)
    net = Spikformer(layout, 3, 10, 384, 4, 12, pooled=(2, 3), time_steps=4, **variant)
    return net, (1, 3, 32, 32)


def spikformer_imagenet(small: bool):
    """Spikformer-8-512 of the directory imagenet."""
    if small:
        net = Spikformer("images", 3, 10, 48, 2, 3, time_steps=2, kv_first=True)
        return net, (1, 3, 32, 32)
    net = Spikformer("images", 3, 1000, 512, 8, 8, time_steps=4, kv_first=True)
    return net, (1, 3, 224, 224)


def spikformer_cifar10dvs(small: bool, classes: int = 10):
    """Spikformer-2-256 of the directory cifar10dvs."""
    if small:
        return Spikformer("lines", 2, classes, 32, 2, 4, scale=0.25), (1, 4, 2, 32, 32)
    return Spikformer("lines", 2, classes, 256, 2, 16, scale=0.25), (1, 16, 2, 128, 128)


NETWORKS = {
    "spikformer-cifar10": spikformer_cifar10,
    "spikformer-cifar10-first": lambda small: spikformer_cifar10(small, first_version=True),
    "spikformer-cifar10-images": lambda small: spikformer_cifar10(small, "images"),
    "spikformer-cifar10-cml": lambda small: spikformer_cifar10(small, cml=True),
    "spikformer-imagenet": spikformer_imagenet,
    "spikformer-cifar10dvs": spikformer_cifar10dvs,
    "spikformer-dvs128gesture": lambda small: spikformer_cifar10dvs(small, classes=11),
}
