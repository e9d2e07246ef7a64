"""CIFAR-10 (Krizhevsky 2009), the "binary version": data_batch_1.bin to 5, and test_batch.bin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hqc.data.augment import mirrored, shifted
from hqc.data.task import Labelled, Task, loader
from hqc.errors import UserError
from hqc.regular_files import read_file

SIZE = 32
_LARGEST = 1 << 30
_RECORD = 1 + 3 * SIZE * SIZE
"""Bytes of an image: its class, then its red, green and blue planes."""


@loader("cifar10", time_steps=4)
def load(folder: Path, time_steps: int) -> Task:
    """The task of the unpacked dataset; every time step shows the whole image, pixels 0 to 255."""
    inner = folder / "cifar-10-batches-bin"
    folder = inner if inner.is_dir() else folder
    return Task(
        _split(sorted(folder.glob("data_batch_*.bin")), folder, time_steps),
        _split(sorted(folder.glob("test_batch.bin")), folder, time_steps),
        _varied,
        {"kind": "image", "time_steps": time_steps, "height": SIZE, "width": SIZE},
    )


def _split(files: list[Path], folder: Path, time_steps: int) -> Labelled:
    if not files:
        raise UserError(
            f"{folder} holds no data_batch_*.bin and test_batch.bin",
            hint="unpack cifar-10-binary.tar.gz there",
        )
    parts = []
    for file in files:
        data = np.frombuffer(read_file(file, _LARGEST), np.uint8)
        if data.size == 0 or data.size % _RECORD:
            raise UserError(f"{file}: {data.size} bytes are no whole {_RECORD}-byte images")
        parts.append(data.reshape(-1, _RECORD))
    records = np.concatenate(parts)
    if records[:, 0].max() > 9:
        raise UserError(f"{files[0].parent}: class {records[:, 0].max()} is not one of 0 to 9")
    images = torch.from_numpy(records[:, 1:].reshape(-1, 1, 3, SIZE, SIZE))
    frames = images.expand(-1, time_steps, -1, -1, -1)
    return frames, torch.from_numpy(records[:, 0].astype(np.int64))


def _varied(frames: Tensor, generator: torch.Generator) -> Tensor:
    return mirrored(shifted(frames, generator, 4), generator)
