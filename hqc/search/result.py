"""What a search came to."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from hqc.data.task import Task
from hqc.energy import estimate
from hqc.energy.count_module import count_module
from hqc.energy.overhead import precisions_of
from hqc.quantize import average_bits
from hqc.quantize.recipe import Choice
from hqc.search.method import Options
from hqc.search.training import accuracy
from hqc.targets import load_profile

COUNTED = 20
"""Recordings that operations are counted on."""


def describe(
    model: nn.Module,
    float_model: nn.Module,
    recipe: Mapping[str, Choice],
    task: Task,
    options: Options,
) -> dict:
    """Accuracy on the test split, bits, and ratios over fp32, of a model with its quantizers."""
    frames = task.train[0][:COUNTED].float().transpose(0, 1)
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
