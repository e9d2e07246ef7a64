"""N-MNIST (Orchard et al. 2015): digits before an event camera, Train/<digit>/*.bin and Test/."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from hqc.data.augment import shifted
from hqc.data.events import events_to_frames, read_events
from hqc.data.task import Labelled, Task, loader
from hqc.errors import UserError

SIZE = 34


@loader("nmnist", time_steps=8)
def load(folder: Path, time_steps: int) -> Task:
    """The task of the unpacked dataset, or of a part of it."""
    return Task(
        _split(folder / "Train", time_steps),
        _split(folder / "Test", time_steps),
        partial(shifted, pixels=3),
        {"kind": "events", "time_steps": time_steps, "height": SIZE, "width": SIZE},
    )


def _split(folder: Path, time_steps: int) -> Labelled:
    files = sorted(folder.glob("[0-9]/*.bin"))
    if not files:
        raise UserError(
            f"{folder} holds no recordings", hint="unpack N-MNIST as Train/<digit>/*.bin and Test/"
        )
    frames = [events_to_frames(read_events(f), time_steps, SIZE, SIZE) for f in files]
    return torch.tensor(np.stack(frames)), torch.tensor([int(f.parent.name) for f in files])
