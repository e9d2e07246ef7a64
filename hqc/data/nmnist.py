"""N-MNIST (Orchard et al. 2015): digits before an event camera, Train/<digit>/*.bin and Test/."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hqc.data.events import events_to_frames, read_events
from hqc.data.task import Labelled, Task, loader
from hqc.errors import UserError

TIME_STEPS, SIZE = 8, 34
SHIFT = 3
"""Pixels that a recording is moved by, at most, in training."""


@loader("nmnist")
def load(folder: Path) -> Task:
    """The task of the unpacked dataset, or of a part of it."""
    events = {"kind": "events", "time_steps": TIME_STEPS, "height": SIZE, "width": SIZE}
    return Task(_split(folder / "Train"), _split(folder / "Test"), shifted, events)


def _split(folder: Path) -> Labelled:
    files = sorted(folder.glob("[0-9]/*.bin"))
    if not files:
        raise UserError(
            f"{folder} holds no recordings", hint="unpack N-MNIST as Train/<digit>/*.bin and Test/"
        )
    frames = [events_to_frames(read_events(f), TIME_STEPS, SIZE, SIZE) for f in files]
    return torch.tensor(np.stack(frames)), torch.tensor([int(f.parent.name) for f in files])


def shifted(frames: Tensor, generator: torch.Generator) -> Tensor:
    """The batch [T, N, ...], each recording moved by up to `SHIFT` pixels in x and y."""
    moves = torch.randint(-SHIFT, SHIFT + 1, (frames.shape[1], 2), generator=generator)
    padded = F.pad(frames, (SHIFT,) * 4)
    return torch.stack(
        [
            padded[:, i, :, SHIFT + y : SHIFT + y + SIZE, SHIFT + x : SHIFT + x + SIZE]
            for i, (y, x) in enumerate(moves.tolist())
        ],
        1,
    )
