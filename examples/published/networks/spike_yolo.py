"""SpikeYOLO (Luo et al., ECCV 2024), its backbone, laid out as its authors' code has it.

The code is at github.com/BICLab/SpikeYOLO: neurons with integer spikes for COCO, and SpikingJelly's
LIF neurons with a soft reset for the events of Gen1. A mean of the backbone's last features over
time and positions and a linear layer stand in for the detector. Activations are [T, B, C, H, W];
what goes from block to block are membrane potentials.
"""

from collections.abc import Callable

import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn
from torch.nn import functional as F


class IntegerSpikes(torch.autograd.Function):
    """round(clamp(x, 0, largest)), with a gradient of 1 between 0 and the largest."""

    @staticmethod
    def forward(ctx, x: Tensor, largest: int) -> Tensor:
        """The nearest integer from 0 to `largest`, the even one of two as near."""
        ctx.save_for_backward(x)
        ctx.largest = largest
        return torch.round(torch.clamp(x, min=0, max=largest))

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        """Pass the gradient on where the potential was not clamped."""
        (x,) = ctx.saved_tensors
        return grad * ((x >= 0) & (x <= ctx.largest)), None


class MemUpdate(nn.Module):
    """Integer LIF: a potential decays by a factor, and what it fired is subtracted before that."""

    def __init__(self, largest: int = 4, decay: float = 0.25):
        super().__init__()
        self.largest, self.decay = largest, decay

    def forward(self, x: Tensor) -> Tensor:
        """[T, ...] -> as many integers from 0 to `largest`."""
        spikes = torch.zeros_like(x)
        potential = fired = None
        for t in range(len(x)):
            potential = (potential - fired.detach()) * self.decay + x[t] if t else x[t]
            fired = IntegerSpikes.apply(potential, self.largest)
            spikes[t] = fired
        return spikes


def soft_reset_lif() -> neuron.LIFNode:
    """The neuron of the code for Gen1."""
    return neuron.LIFNode(tau=2.0, v_reset=None, detach_reset=True, step_mode="m")


class BNAndPad(nn.Module):
    """BatchNorm, then a border of what BatchNorm makes of zeros."""

    def __init__(self, channels, pixels):
        super().__init__()
        self.bn, self.pixels = nn.BatchNorm2d(channels), pixels

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H + 2 * pixels, W + 2 * pixels]."""
        bn, n = self.bn, self.pixels
        border = bn.bias.detach() - bn.running_mean * bn.weight.detach() / torch.sqrt(
            bn.running_var + bn.eps
        )
        y, border = F.pad(bn(x), [n] * 4), border.view(1, -1, 1, 1)
        y[:, :, :n, :] = border
        y[:, :, -n:, :] = border
        y[:, :, :, :n] = border
        y[:, :, :, -n:] = border
        return y


def rep_conv(c_in: int, c_out: int) -> nn.Sequential:
    """Convolutions that are one of 3 x 3 after training: pointwise, depthwise, pointwise."""
    return nn.Sequential(
        nn.Conv2d(c_in, c_in, 1, bias=False),
        BNAndPad(c_in, 1),
        nn.Conv2d(c_in, c_in, 3, groups=c_in, bias=False),
        nn.Conv2d(c_in, c_out, 1, bias=False),
        nn.BatchNorm2d(c_out),
    )


def sep_rep_conv(c_in: int, c_out: int) -> nn.Sequential:
    """The same without the first pointwise convolution, and with the other one before."""
    return nn.Sequential(
        BNAndPad(c_in, 1),
        nn.Conv2d(c_in, c_out, 1, bias=False),
        nn.Conv2d(c_out, c_out, 3, groups=c_out, bias=False),
    )


class NeuronConv(nn.Module):
    """Neurons if there are any, a convolution or several, BatchNorm."""

    def __init__(self, neurons, conv, c_out):
        super().__init__()
        self.lif, self.conv, self.bn = neurons, conv, nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] -> [T, B, c_out, h, w]."""
        T, B = x.shape[:2]
        y = self.bn(self.conv(self.lif(x).flatten(0, 1)))
        return y.reshape(T, B, *y.shape[1:])


class SepConv(nn.Sequential):
    """Pointwise, depthwise and a reparametrized convolution, each after neurons."""

    def __init__(self, dim, kernel, neurons):
        wide = 2 * dim
        super().__init__(
            NeuronConv(neurons(), nn.Conv2d(dim, wide, 1, bias=False), wide),
            NeuronConv(
                neurons(),
                nn.Conv2d(wide, wide, kernel, padding=kernel // 2, groups=wide, bias=False),
                wide,
            ),
            NeuronConv(neurons(), sep_rep_conv(wide, dim), dim),
        )


class ConvBlock(nn.Module):
    """A SepConv, then two convolutions, each of the two added to the potentials it was given.

    The two are reparametrized ones, or plain ones of 3 x 3 (`MS_AllConvBlock`).
    """

    def __init__(self, dim, ratio, neurons, plain):
        super().__init__()

        def conv(c_in, c_out):
            return nn.Conv2d(c_in, c_out, 3, 1, 1, bias=False) if plain else rep_conv(c_in, c_out)

        self.mixer = SepConv(dim, 7, neurons)
        self.conv1 = NeuronConv(neurons(), conv(dim, ratio * dim), ratio * dim)
        self.conv2 = NeuronConv(neurons(), conv(ratio * dim, dim), dim)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] -> [T, B, C, H, W]."""
        x = self.mixer(x) + x
        return x + self.conv2(self.conv1(x))


class SpikeSPPF(nn.Module):
    """Three max pools of potentials, one after the other, joined along channels."""

    def __init__(self, c_in, c_out, neurons, kernel=5):
        super().__init__()
        hidden = c_in // 2
        self.cv1 = NeuronConv(neurons(), nn.Conv2d(c_in, hidden, 1, bias=False), hidden)
        self.cv2 = NeuronConv(neurons(), nn.Conv2d(4 * hidden, c_out, 1, bias=False), c_out)
        self.pool = nn.MaxPool2d(kernel, 1, kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] -> [T, B, c_out, H, W]."""
        x = self.cv1(x)
        T, B, C, H, W = x.shape
        y1 = self.pool(x.flatten(0, 1)).reshape(T, B, C, H, W)
        y2 = self.pool(y1.flatten(0, 1)).reshape(T, B, C, H, W)
        y3 = self.pool(y2.flatten(0, 1)).reshape(T, B, C, H, W)
        return self.cv2(torch.cat((x, y1, y2, y3), 2))


class Backbone(nn.Module):
    """The backbone and a linear head on the mean of its last features.

    An image [B, C, H, W] is repeated `steps` times; of frames [B, T, C, H, W], time goes first.
    """

    def __init__(self, width, repeats, steps, classes, neurons: Callable[[], nn.Module]):
        super().__init__()
        self.steps = steps
        layers, c_in = [], 3
        for stage, (ratio, repeat) in enumerate(zip((4, 4, 3, 2), repeats, strict=True)):
            dim = width * 2**stage
            kernel, stride, padding = (3, 2, 1) if stage else (7, 4, 2)
            conv = nn.Conv2d(c_in, dim, kernel, stride, padding)
            layers += [NeuronConv(neurons() if stage else nn.Identity(), conv, dim)]
            layers += [ConvBlock(dim, ratio, neurons, plain=stage < 2) for _ in range(repeat)]
            c_in = dim
        self.layers = nn.Sequential(*layers, SpikeSPPF(c_in, c_in, neurons))
        self.head = nn.Linear(c_in, classes)

    def forward(self, x: Tensor) -> Tensor:
        """An image or frames -> logits [B, classes]."""
        x = x.unsqueeze(0).repeat(self.steps, 1, 1, 1, 1) if x.dim() == 4 else x.transpose(0, 1)
        return self.head(self.layers(x).mean(0).flatten(2).mean(2))


def spike_yolo(small: bool, steps: int = 1) -> tuple[nn.Module, tuple[int, ...]]:
    """SpikeYOLO of size s for COCO, integers up to 4; and the shape of its input."""
    width, repeats, size = (12, (1, 1, 1, 1), 64) if small else (64, (1, 2, 3, 1), 640)
    net = Backbone(width, repeats, steps, 10 if small else 80, MemUpdate)
    return net, (1, 3, size, size)


def spike_yolo_2_steps(small: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """The same with two time steps."""
    return spike_yolo(small, 2)


def spike_yolo_gen1(small: bool) -> tuple[nn.Module, tuple[int, ...]]:
    """SpikeYOLO of size s for Gen1, four frames of 320 x 256; and the shape of its input."""
    width, repeats = (12, (1, 1, 1, 1)) if small else (64, (1, 2, 3, 1))
    net = Backbone(width, repeats, None, 10 if small else 2, soft_reset_lif)
    return net, (1, 3 if small else 4, 3, *((64, 64) if small else (256, 320)))


NETWORKS = {
    "spike-yolo": spike_yolo,
    "spike-yolo-2-steps": spike_yolo_2_steps,
    "spike-yolo-gen1": spike_yolo_gen1,
}
