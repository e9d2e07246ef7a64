"""A task that a small network soon learns: classes differ in where their events are."""

from __future__ import annotations

import torch

from hqc.data.task import Task
from hqc.models.spikformer import Spikformer


def network() -> Spikformer:
    """A small network for the task."""
    torch.manual_seed(0)
    return Spikformer(in_channels=2, classes=3, dim=16, depth=1, heads=2)


def places() -> Task:
    """Sixty recordings of three classes."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    frames = torch.poisson(torch.full((60, 2, 2, 12, 12), 0.1), generator=generator)
    for i, label in enumerate(labels.tolist()):
        frames[i, :, :, 4 * label : 4 * label + 4] += 2
    return Task((frames.byte(), labels), (frames[:15].byte(), labels[:15]))
