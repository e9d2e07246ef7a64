"""Modules that mix time steps: compiled logits are the module's own."""

from __future__ import annotations

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, nn

from hqc.models.lif import LIF
from tests.frontend.compiled import compiles_to_what_it_does

T, C, H, W = 4, 8, 5, 6
MIXED = []


def mixed(kind: type[nn.Module]) -> type[nn.Module]:
    """Register a layer between two others: spikes [T, 1, C, H, W] to what neurons read."""
    MIXED.append(kind)
    return kind


@mixed
class Parallel(neuron.PSN):
    """Neurons that see all time steps (Fang et al. 2023)."""

    def __init__(self):
        super().__init__(T)
        nn.init.constant_(self.bias, -0.3)


@mixed
class Sliding(neuron.SlidingPSN):
    """Neurons that see some steps before each."""

    def __init__(self):
        super().__init__(3, step_mode="m")
        nn.init.constant_(self.bias, -0.6)


@mixed
class EffectiveNorm(layer.TemporalEffectiveBatchNorm2d):
    """BatchNorm with a factor for each time step (Duan et al. 2022)."""

    def __init__(self):
        super().__init__(T, C)
        functional.set_step_mode(self, "m")
        self.scale.data.uniform_(0.5, 1.5)


@mixed
class Interaction(nn.Module):
    """A convolution along time, as of a temporal interaction module, beside its input."""

    def __init__(self):
        super().__init__()
        self.conv, self.lif = nn.Conv1d(C, C, 3, padding=1), LIF(2.0, 0.3)

    def forward(self, x: Tensor) -> Tensor:
        t, n, c, h, w = x.shape
        y = self.conv(x.permute(1, 3, 4, 2, 0).flatten(0, 2))
        return self.lif(y.view(n, h, w, c, t).permute(4, 0, 3, 1, 2)) + x


@mixed
class ChunkAttention(nn.Module):
    """Q (K^T V) over all tokens of two time steps, as of STAtten (Lee et al. 2025)."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(C, C, bias=False) for _ in "qkv")
        self.neurons = nn.ModuleList(LIF(2.0, 0.3) for _ in "qkv")
        self.lif = LIF(2.0, 0.3)

    def forward(self, x: Tensor) -> Tensor:
        t, n, c, h, w = x.shape
        tokens = x.flatten(3).transpose(2, 3)
        q, k, v = (
            lif(linear(tokens))
            .reshape(t // 2, 2, n, h * w, 2, c // 2)
            .permute(0, 2, 4, 1, 3, 5)
            .reshape(t // 2, n, 2, 2 * h * w, c // 2)
            for linear, lif in zip(self.layers, self.neurons, strict=True)
        )
        y = (q @ (k.transpose(-2, -1) @ v) * 0.1).reshape(t // 2, n, 2, 2, h * w, c // 2)
        return self.lif(y.permute(0, 3, 1, 2, 5, 4).reshape(t, n, c, h, w)) + x


@mixed
class Change(nn.Module):
    """What is new in each time step but the first."""

    def forward(self, x: Tensor) -> Tensor:
        return x[1:] - x[:-1]


@mixed
class LessTheMean(nn.Module):
    """Each time step less a part of all steps' mean."""

    def forward(self, x: Tensor) -> Tensor:
        return x - 0.5 * x.mean(0, keepdim=True)


class Net(nn.Module):
    """Frames [T, 1, 2, H, W] -> the largest logits of any time step [1, 10]."""

    def __init__(self, between: type[nn.Module]) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, C, 3, padding=1), nn.Conv2d(C, C, 3, padding=1)
        self.neurons = nn.ModuleList([LIF(2.0, 0.1), LIF(2.0, 0.05)])
        self.between, self.head = between(), nn.Linear(C, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.neurons[0](self.first(x.flatten(0, 1)).unflatten(0, (len(x), 1)))
        x = self.between(x)
        x = self.neurons[1](self.second(x.flatten(0, 1)).unflatten(0, (len(x), 1)))
        return self.head(x.mean((3, 4))).amax(0)


@pytest.mark.parametrize("between", MIXED, ids=lambda kind: kind.__name__)
def test_compiled_logits_are_the_modules_own(between, tmp_path):
    torch.manual_seed(0)
    frames = [torch.randint(0, 6, (T, 1, 2, H, W)) / 5 for _ in range(4)]
    compiles_to_what_it_does(Net(between), frames, tmp_path)


POOLS = {
    "largest": nn.MaxPool3d(2, 1),
    "mean": nn.AvgPool3d(2, 1),
    "largest, padded": nn.MaxPool3d(3, 2, 1),
    "largest of each step": nn.MaxPool3d((1, 2, 2)),
    "largest of every other step": nn.MaxPool3d((1, 2, 2), 2),
}


class Volumes(nn.Module):
    """Windows over time, height and width, of frames and of spikes."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.first, self.second = nn.Conv3d(2, C, 3, padding=1), nn.Conv3d(C, C, 3, padding=1)
        self.neurons = nn.ModuleList([LIF(2.0, 0.1), LIF(2.0, 0.05)])
        self.pool, self.head = pool, nn.Linear(C, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.neurons[0](self.first(x.permute(1, 2, 0, 3, 4)).permute(2, 0, 1, 3, 4))
        x = self.second(self.pool(x.permute(1, 2, 0, 3, 4))).permute(2, 0, 1, 3, 4)
        return self.head(self.neurons[1](x).mean((0, 3, 4)))


@pytest.mark.parametrize("pool", POOLS)
def test_windows_of_three_dimensions(pool, tmp_path):
    torch.manual_seed(0)
    frames = [torch.randint(0, 6, (T, 1, 2, H, W)) / 5 for _ in range(3)]
    compiles_to_what_it_does(Volumes(POOLS[pool]), frames, tmp_path)
