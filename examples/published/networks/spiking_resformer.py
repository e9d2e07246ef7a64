"""SpikingResformer (Shi et al., CVPR 2024), laid out as its authors' code has it.

The code is at github.com/xyshi2000/SpikingResformer. Dual spike self-attention multiplies spikes by
potentials, of a convolution whose window is its stride, and scales the products by firing rates
that training measures. Activations are [T, B, C, H, W]; what goes from block to block, and into the
classifier, are membrane potentials.
"""

from collections.abc import Callable, Sequence

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, nn


def lif() -> neuron.LIFNode:
    """The neuron of every layer, except for the gestures of DVS128."""
    return neuron.LIFNode(tau=2.0, detach_reset=True, step_mode="m")


def plif() -> neuron.ParametricLIFNode:
    """The neuron for the gestures of DVS128, with a time constant that is learned."""
    return neuron.ParametricLIFNode(init_tau=2.0, detach_reset=True, step_mode="m")


class BN(nn.Module):
    """BatchNorm of [T, B, C, H, W]."""

    def __init__(self, channels):
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] -> [T, B, C, H, W]."""
        return functional.seq_to_ann_forward(x, self.bn)


def conv(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> layer.Conv2d:
    """A convolution of [T, B, C, H, W] that keeps the image's size but for its stride."""
    return layer.Conv2d(
        c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False, step_mode="m"
    )


class DSSA(nn.Module):
    """Dual spike self-attention: of spikes with their own patches' potentials, twice."""

    def __init__(self, dim, heads, tokens, patch, neurons, momentum=0.999):
        super().__init__()
        self.dim, self.heads, self.tokens, self.momentum = dim, heads, tokens, momentum
        self.register_buffer("firing_rate_x", torch.zeros(1, 1, heads, 1, 1))
        self.register_buffer("firing_rate_attn", torch.zeros(1, 1, heads, 1, 1))
        self.lif_in = neurons()
        self.conv = layer.Conv2d(dim, dim * 2, patch, patch, bias=False, step_mode="m")
        self.norm = BN(dim * 2)
        self.lif_attn = neurons()
        self.lif_out = neurons()
        self.proj, self.norm_proj = conv(dim, dim, 1), BN(dim)

    def measure(self, name: str, spikes: Tensor) -> None:
        """Let a running firing rate of every head follow its spikes."""
        rate = spikes.detach().mean((0, 1, 3, 4), keepdim=True)
        running = getattr(self, name)
        if torch.all(running == 0):
            running = rate
        setattr(self, name, running * self.momentum + rate * (1 - self.momentum))

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] -> [T, B, C, H, W]."""
        T, B, C, H, W = x.shape
        width = C // self.heads
        shortcut = x.clone()
        x = self.lif_in(x)
        y = self.norm(self.conv(x)).reshape(T, B, self.heads, 2 * width, -1)
        y1, y2 = y[:, :, :, :width, :], y[:, :, :, width:, :]
        x = x.reshape(T, B, self.heads, width, -1)

        if self.training:
            self.measure("firing_rate_x", x)
        scale1 = 1.0 / torch.sqrt(self.firing_rate_x * (self.dim // self.heads))
        attn = torch.matmul(y1.transpose(-1, -2), x) * scale1
        attn = self.lif_attn(attn)

        if self.training:
            self.measure("firing_rate_attn", attn)
        scale2 = 1.0 / torch.sqrt(self.firing_rate_attn * self.tokens)
        out = torch.matmul(y2, attn) * scale2
        out = self.lif_out(out.reshape(T, B, C, H, W))
        return self.norm_proj(self.proj(out)) + shortcut


class GWFFN(nn.Module):
    """Feed-forward network with a convolution of groups in the middle, each with a shortcut."""

    def __init__(self, dim, group_size, neurons, ratio=4):
        super().__init__()
        wide = dim * ratio
        self.up = nn.Sequential(neurons(), conv(dim, wide, 1), BN(wide))
        grouped = conv(wide, wide, 3, groups=wide // group_size)
        self.conv = nn.Sequential(neurons(), grouped, BN(wide))
        self.down = nn.Sequential(neurons(), conv(wide, dim, 1), BN(dim))

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] -> [T, B, C, H, W]."""
        shortcut = x.clone()
        x = self.up(x)
        inner = x.clone()
        x = self.conv(x) + inner
        return self.down(x) + shortcut


class SpikingResformer(nn.Module):
    """A stem, stages of attention and feed-forward blocks, mean of positions, classifier.

    `dims`, `heads` and `patches` (the windows of attention) are those of every stage, `depths` its
    pairs of blocks. An image [B, C, H, W] is repeated `steps` times; of frames [B, T, C, H, W],
    time goes first. The published network returns logits at every step; evaluation takes the mean.
    """

    def __init__(
        self,
        stem: nn.Sequential,
        dims: Sequence[int],
        heads: Sequence[int],
        patches: Sequence[int],
        depths: Sequence[int],
        size: int,
        steps: int,
        classes: int,
        group_size: int,
        neurons: Callable[[], nn.Module] = lif,
    ):
        super().__init__()
        self.steps, self.prologue, self.layers = steps, stem, nn.Sequential()
        for i, (dim, depth) in enumerate(zip(dims, depths, strict=True)):
            stage = nn.Sequential()
            if i:
                stage.append(nn.Sequential(neurons(), conv(dims[i - 1], dim, 3, 2), BN(dim)))
                size //= 2
            for _ in range(depth):
                tokens = (size // patches[i]) ** 2
                stage.append(DSSA(dim, heads[i], tokens, patches[i], neurons))
                stage.append(GWFFN(dim, group_size, neurons))
            self.layers.append(stage)
        self.avgpool = layer.AdaptiveAvgPool2d((1, 1), step_mode="m")
        self.classifier = layer.Linear(dims[-1], classes, bias=False, step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        """An image or frames -> logits [B, classes]."""
        x = x.transpose(0, 1) if x.dim() == 5 else x.unsqueeze(0).repeat(self.steps, 1, 1, 1, 1)
        x = self.layers(self.prologue(x))
        x = torch.flatten(self.avgpool(x), 2)
        return self.classifier(x).mean(0)


def spiking_resformer_cifar10(small: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """The network for CIFAR-10, 4 time steps; and the shape of its input."""
    dims, heads, depths, size, steps, group = (
        ((16, 24), (1, 3), (1, 1), 16, 2, 16)
        if small
        else ((64, 192, 384), (1, 3, 6), (1, 2, 3), 32, 4, 64)
    )
    stem = nn.Sequential(conv(3, dims[0], 3), BN(dims[0]))
    patches = (4, 2, 1)[: len(dims)]
    net = SpikingResformer(stem, dims, heads, patches, depths, size, steps, 10, group)
    return net, (1, 3, size, size)


def spiking_resformer_imagenet(small: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """SpikingResformer-S, 4 time steps, for images of 224 x 224 pixels; its input's shape."""
    dims, heads, depths, size, steps, group, classes = (
        ((16, 24), (1, 3), (1, 1), 32, 2, 16, 10)
        if small
        else ((64, 256, 512), (1, 4, 8), (1, 2, 3), 224, 4, 64, 1000)
    )
    stem = nn.Sequential(
        layer.Conv2d(3, dims[0], 7, 2, 3, bias=False, step_mode="m"),
        BN(dims[0]),
        layer.MaxPool2d(3, 2, 1, step_mode="m"),
    )
    patches = (4, 2, 1)[: len(dims)]
    net = SpikingResformer(stem, dims, heads, patches, depths, size // 4, steps, classes, group)
    return net, (1, 3, size, size)


def spiking_resformer_dvsgesture(small: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """The network for DVS128 Gesture, 16 frames of 64 x 64; and the shape of its input.

    Its third channel is the sum of the two of the events.
    """
    dims, heads, depths, size, steps, classes = (
        ((16, 32), (1, 2), (1, 1), 16, 3, 10)
        if small
        else ((32, 96, 192), (1, 3, 6), (1, 2, 3), 64, 16, 11)
    )
    stem = nn.Sequential(conv(3, dims[0], 3), BN(dims[0]))
    patches = (4, 2, 1)[: len(dims)]
    net = SpikingResformer(
        stem, dims, heads, patches, depths, size, steps, classes, 16 if small else 32, plif
    )
    return net, (1, steps, 3, size, size)


NETWORKS = {
    "spiking-resformer-cifar10": spiking_resformer_cifar10,
    "spiking-resformer-imagenet": spiking_resformer_imagenet,
    "spiking-resformer-dvsgesture": spiking_resformer_dvsgesture,
}
