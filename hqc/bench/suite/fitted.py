"""Networks of published size, untrained, that fire like a trained one, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hqc.bench.suite.trained import Kinds, Trained, kind_of
from hqc.data.pixels import image_to_frames
from hqc.frontend.export import export
from hqc.models.layers import calibrate_batch_norm
from hqc.models.lif import integrate
from hqc.quantize import apply_recipe
from hqc.quantize.recipe import quantizable_layers

_IMAGES = 4
_SAMPLED = 1 << 18
"""Potentials that a threshold is fitted on, of those that a layer has."""
_HALVINGS = 24


@dataclass(frozen=True)
class Like:
    """Fire like a trained network, and take its quantizers, by the kinds of layers.

    The n-th layer of a kind takes after the n-th of the trained network's, in turn.
    """

    trained: Trained
    kinds: Kinds

    def recipe(self, layers: Iterable[str]) -> dict[str, str]:
        """A quantizer for each layer of weights."""
        return dict(self._in_turn(layers, self.trained.choices))

    def rates(self, neurons: Iterable[str]) -> dict[str, float]:
        """A firing rate for each layer of neurons."""
        return dict(self._in_turn(neurons, self.trained.rates))

    def _in_turn(
        self, names: Iterable[str], known: Mapping[str, Sequence]
    ) -> Iterator[tuple[str, Any]]:
        met: dict[str, int] = {}
        for name in names:
            kind = kind_of(name, self.kinds)
            yield name, known[kind][met.get(kind, 0) % len(known[kind])]
            met[kind] = met.get(kind, 0) + 1


def neurons_of(model: nn.Module) -> dict[str, Any]:
    """The layers of neurons, hqc's or SpikingJelly's."""
    return {name: part for name, part in model.named_modules() if hasattr(part, "v_threshold")}


def fired(layer: Any, x: Tensor, threshold: float) -> float:
    """Spikes a neuron and step of a layer, from inputs [T, ...], at a threshold."""
    tau = getattr(layer, "tau", math.inf)
    decay_input = getattr(layer, "decay_input", False)
    _, spikes = integrate(x, tau, threshold, layer.v_reset, decay_input)
    return float(spikes.mean())


def sampled(x: Tensor) -> Tensor:
    """Inputs [T, ...] -> those of some of the neurons, [T, M]."""
    x = x.detach().flatten(1)
    return x[:, :: max(1, x.numel() // _SAMPLED)]


def threshold_for(layer: Any, x: Tensor, rate: float) -> float:
    """The threshold at which a layer's rate on inputs [T, ...] is nearest to one, and not 0."""
    low, high = 0.0, float(x.clamp(min=0).sum(0).max()) + 1e-6
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if fired(layer, x, middle) > rate else (low, middle)
    above, below = fired(layer, x, low), fired(layer, x, high)
    return high if below and rate - below <= above - rate else max(low, 1e-6)


def images(folder: Path, shape: tuple[int, ...], most: float) -> Tensor:
    """CIFAR-10's images, enlarged, as frames [T, N, 3, H, W] from 0 to `most`."""
    steps, _, _, height, width = shape
    files = sorted(folder.rglob("*.png"))
    files = files[:: len(files) // _IMAGES][:_IMAGES]
    frames = np.stack([image_to_frames(file, steps, height, width) for file in files], 1)
    return torch.from_numpy(frames).float() * (most / 255)


def fit(model: nn.Module, frames: Tensor, like: Like) -> nn.Module:
    """Put quantizers on a network, and set BatchNorm and thresholds on frames [T, N, ...]."""
    apply_recipe(model, like.recipe(quantizable_layers(model)))
    for part in model.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.constant_(part.bias, like.trained.bias)
    neurons = neurons_of(model)
    rates = like.rates(neurons)

    def fitting(name: str) -> Callable[[Any, tuple[Tensor]], None]:
        def set_threshold(layer: Any, inputs: tuple[Tensor]) -> None:
            layer.v_threshold = threshold_for(layer, sampled(inputs[0]), rates[name])

        return set_threshold

    hooks = [part.register_forward_pre_hook(fitting(name)) for name, part in neurons.items()]
    calibrate_batch_norm(model, frames)
    for hook in hooks:
        hook.remove()
    return model.eval()


def write(model: nn.Module, frames: Tensor, folder: Path, name: str) -> Path:
    """Export a network into a folder, and its frames as recordings beside; the model's file."""
    file = folder / f"{name}.onnx"
    (folder / "sample").mkdir(parents=True)
    export(model, frames[:, :1], file, name=name.replace("-", "_"))
    for index in range(frames.shape[1]):
        np.save(folder / "sample" / f"{index}.npy", frames[:, index : index + 1].numpy())
    return file
