"""MS-ResNet (Hu et al., TNNLS 2024), laid out as its authors' code for ImageNet has it.

The code is at github.com/Ariande1/MS-ResNet. Its neurons, a loop over time, are SpikingJelly's LIF
here, with the same decay of 0.25 and threshold of 0.5. Activations are [T, B, C, H, W]; what goes
from block to block are membrane potentials.
"""

import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn
from torch.nn import functional as F

THRESHOLD = 0.5


def lif() -> neuron.LIFNode:
    """The neuron of every layer: what is left of a potential decays by 0.25 a step."""
    return neuron.LIFNode(
        tau=4 / 3, decay_input=False, v_threshold=THRESHOLD, detach_reset=True, step_mode="m"
    )


class SteppedConv2d(nn.Conv2d):
    """A convolution that takes one time step after the other."""

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] -> [T, B, out_channels, h, w]."""
        height, width = (
            (size - kernel + 2 * padding) // stride + 1
            for size, kernel, padding, stride in zip(
                x.shape[3:], self.kernel_size, self.padding, self.stride, strict=True
            )
        )
        y = torch.zeros(*x.shape[:2], self.out_channels, height, width, device=x.device)
        for t in range(len(x)):
            y[t] = F.conv2d(x[t], self.weight, self.bias, self.stride, self.padding)
        return y


class TimeBatchNorm(nn.Module):
    """Threshold-dependent BatchNorm: statistics over time, batch and positions."""

    def __init__(self, channels):
        super().__init__()
        self.bn = nn.BatchNorm3d(channels)
        nn.init.constant_(self.bn.weight, THRESHOLD)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] -> the same, normalized as [B, C, T, H, W]."""
        y = self.bn(x.transpose(0, 2).contiguous().transpose(0, 1).contiguous())
        return y.contiguous().transpose(0, 1).contiguous().transpose(0, 2)


class BasicBlock(nn.Module):
    """Neurons before each of two convolutions; their potentials are added to a shortcut's.

    The published code starts the last BatchNorm at zero, so that training begins with the shortcut
    alone; here it starts as the others.
    """

    def __init__(self, c_in, c_out, stride, pooled_shortcut):
        super().__init__()
        self.residual = nn.Sequential(
            lif(),
            SteppedConv2d(c_in, c_out, 3, stride, 1, bias=False),
            TimeBatchNorm(c_out),
            lif(),
            SteppedConv2d(c_out, c_out, 3, padding=1, bias=False),
            TimeBatchNorm(c_out),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or c_in != c_out:
            pool = [nn.AvgPool3d((1, 2, 2), (1, 2, 2))] if pooled_shortcut else []
            conv = SteppedConv2d(c_in, c_out, 1, 1 if pool else stride, bias=False)
            self.shortcut = nn.Sequential(*pool, conv, TimeBatchNorm(c_out))

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, c_in, H, W] -> [T, B, c_out, h, w]."""
        return self.residual(x) + self.shortcut(x)


class MSResNet(nn.Module):
    """A stem without neurons, four stages that each halve the image, neurons, mean and head."""

    def __init__(self, stem, width, depths, classes, steps, pooled_shortcut):
        super().__init__()
        self.steps = steps
        self.conv1 = nn.Sequential(*stem, TimeBatchNorm(width))
        stages, c_in = [], width
        for stage, depth in enumerate(depths):
            c_out = width * 2**stage
            strides = [2] + [1] * (depth - 1)
            for stride in strides:
                stages.append(BasicBlock(c_in, c_out, stride, pooled_shortcut))
                c_in = c_out
        self.stages = nn.Sequential(*stages)
        self.lif = lif()
        self.dropout = nn.Dropout(0.2 if pooled_shortcut else 0.0)
        self.fc = nn.Linear(c_in, classes)

    def forward(self, x: Tensor) -> Tensor:
        """An image [B, 3, H, W] -> logits [B, classes]."""
        frames = torch.zeros(self.steps, *x.shape, device=x.device)
        for t in range(self.steps):
            frames[t] = x
        y = self.lif(self.stages(self.conv1(frames)))
        y = F.adaptive_avg_pool3d(y, (None, 1, 1))
        y = y.view(y.shape[0], y.shape[1], -1)
        y = y.sum(dim=0) / y.shape[0]
        return self.fc(self.dropout(y))


def ms_resnet18(small: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """MS-ResNet18, 6 time steps, for images of 224 x 224 pixels; and the shape of its input."""
    width, depths, steps, size = (12, (1, 1), 3, 32) if small else (64, (2, 2, 2, 2), 6, 224)
    stem = [SteppedConv2d(3, width, 7, 2, 3, bias=False)]
    net = MSResNet(stem, width, depths, 10 if small else 1000, steps, False)
    return net, (1, 3, size, size)


def ms_resnet34(small: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """MS-ResNet34, 6 time steps, for images of 224 x 224 pixels; and the shape of its input."""
    width, depths, steps, size = (16, (2, 1), 2, 24) if small else (64, (3, 4, 6, 3), 6, 224)
    stem = [SteppedConv2d(3, width, 7, 2, 3, bias=False)]
    net = MSResNet(stem, width, depths, 10 if small else 1000, steps, False)
    return net, (1, 3, size, size)


def ms_resnet104(small: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """MS-ResNet104: three convolutions for a stem, and shortcuts that pool; its input's shape."""
    width, depths, steps, size = (12, (1, 2), 2, 32) if small else (64, (3, 8, 32, 8), 6, 224)
    stem = [SteppedConv2d(3, width, 3, 2, 1)]
    stem += [SteppedConv2d(width, width, 3, 1, 1) for _ in range(2)]
    net = MSResNet(stem, width, depths, 10 if small else 1000, steps, True)
    return net, (1, 3, size, size)


NETWORKS = {
    "ms-resnet18": ms_resnet18,
    "ms-resnet34": ms_resnet34,
    "ms-resnet104": ms_resnet104,
}
