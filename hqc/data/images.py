"""Images in folders of classes, as ImageNet is unpacked: train/<class>/* and val/<class>/*."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from hqc.data.augment import mirrored, shifted
from hqc.data.pixels import IMAGE_SUFFIXES, image_to_frames
from hqc.data.task import FileFrames, Labelled, Task, loader
from hqc.errors import UserError

SIZE = 224


@loader("imagenet", time_steps=4)
def load(folder: Path, time_steps: int) -> Task:
    """The task of the unpacked dataset, or of any images sorted likewise; read as asked for."""
    test = folder / "val" if (folder / "val").is_dir() else folder / "test"
    classes = sorted(p.name for p in (folder / "train").glob("*") if p.is_dir())
    return Task(
        _split(folder / "train", classes, time_steps),
        _split(test, classes, time_steps),
        _varied,
        {"kind": "image", "time_steps": time_steps, "height": SIZE, "width": SIZE},
    )


def _split(folder: Path, classes: list[str], time_steps: int) -> Labelled:
    files, labels = [], []
    for label, name in enumerate(classes):
        found = [f for f in sorted(folder.glob(f"{name}/*")) if f.suffix.lower() in IMAGE_SUFFIXES]
        files += found
        labels += [label] * len(found)
    if not files:
        raise UserError(
            f"{folder} holds no images", hint="sort them as train/CLASS/*.jpg and val/CLASS/*.jpg"
        )
    read = partial(image_to_frames, time_steps=time_steps, height=SIZE, width=SIZE)
    return FileFrames(files, read), torch.tensor(labels)


def _varied(frames: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return mirrored(shifted(frames, generator, 16), generator)
