"""What a search came to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from hqc.data.task import Task
from hqc.energy import estimate
from hqc.energy.count_module import count_module
from hqc.energy.overhead import precisions_of
from hqc.quantize import average_bits
from hqc.quantize.recipe import Choice, quantizable_layers
from hqc.search.device import device_of
from hqc.search.method import Options
from hqc.search.training import accuracy
from hqc.targets import load_profile

_COUNTED = 20


def counted_frames(task: Task, model: nn.Module) -> Tensor:
    """Frames [T, N, ...] to count operations on, spread over all there are, where the model is."""
    frames = task.train[0]
    chosen = torch.linspace(0, len(frames) - 1, min(_COUNTED, len(frames))).long()
    return frames[chosen].float().transpose(0, 1).to(device_of(model))


def weights_of(model: nn.Module) -> dict[str, np.ndarray]:
    """The weights of every layer, as they are used: quantized where there is a quantizer."""
    was_training = model.training
    layers = quantizable_layers(model.eval())
    found = {name: layer.weight.detach().cpu().numpy().ravel() for name, layer in layers.items()}
    model.train(was_training)
    return found


def describe(
    model: nn.Module,
    float_model: nn.Module,
    recipe: Mapping[str, Choice],
    task: Task,
    options: Options,
) -> dict:
    """Accuracy on the test split, bits, and ratios over fp32, of a model with its quantizers."""
    frames = counted_frames(task, model)
    found = estimate(
        count_module(model, frames),
        precisions_of(model),
        load_profile(options.profile),
        frames.shape[0],
    ).as_dict()
    return {
        "beta": options.beta,
        "profile": options.profile,
        "accuracy": accuracy(model, task.test),
        "float_accuracy": accuracy(float_model, task.test),
        "average_bits": average_bits(model, recipe),
        "storage_ratio": found["storage_ratio"],
        "energy_ratio": found["energy_ratio"],
        "choices": dict(recipe),
    }
