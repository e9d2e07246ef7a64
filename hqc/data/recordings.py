"""Recordings for verifying, calibrating and benchmarking: files or folders of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from hqc.data.events import events_to_frames, read_events
from hqc.data.pixels import IMAGE_SUFFIXES, image_to_frames
from hqc.errors import UserError

PREPROCESSING = "hqc.preprocessing"
"""Key of a model's metadata that says, in JSON, how recordings become frames."""


_SUFFIXES = (".bin", ".npy", *IMAGE_SUFFIXES)
_PLURAL = {"events": "events", "image": "images"}


@dataclass(frozen=True)
class Recording:
    """Frames as the model takes them, and the class if the folder's name is a number."""

    name: str
    frames: np.ndarray
    label: int | None = None


def read_recording(
    path: str | PathLike[str], shape: Sequence[int], preprocessing: dict | None
) -> Recording:
    """Events (.bin), an image or frames (.npy) as float32 of that shape. Raises `UserError`.

    One frame of a .npy is repeated over time.
    """
    path = Path(path)
    try:
        frames = _read_frames(path, shape, preprocessing)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"cannot read {path}: {reason}") from None
    if frames.size * shape[0] == np.prod(shape):
        frames = np.broadcast_to(frames.reshape(shape[1:]), shape)
    if frames.size != np.prod(shape) or not np.isfinite(frames).all():
        raise UserError(
            f"{path}: frames {list(frames.shape)} of {frames.dtype} are not {list(shape)} numbers"
        )
    label = int(path.parent.name) if path.parent.name.isdigit() else None
    return Recording(str(path), np.ascontiguousarray(frames, np.float32).reshape(shape), label)


def _read_frames(path: Path, shape: Sequence[int], preprocessing: dict | None) -> np.ndarray:
    if path.suffix == ".npy":
        frames = np.load(path, allow_pickle=False)
        if frames.dtype.kind not in "fiub":
            raise ValueError(f"frames of {frames.dtype}")
        return frames
    kind = "events" if path.suffix == ".bin" else "image"
    if path.suffix.lower() not in _SUFFIXES:
        raise UserError(f"{path}: recordings are .bin (events), images, or .npy (frames)")
    if preprocessing is None or preprocessing.get("kind") != kind:
        raise UserError(
            f"{path}: the model does not say how {_PLURAL[kind]} become frames",
            hint=f"export it with preprocessing={{'kind': {kind!r}, ...}}, or give frames as .npy",
        )
    sizes = [preprocessing[key] for key in ("time_steps", "height", "width")]
    if kind == "image":
        return _normalized(image_to_frames(path, *sizes), preprocessing)
    return events_to_frames(read_events(path), *sizes)


def _normalized(pixels: np.ndarray, preprocessing: dict) -> np.ndarray:
    """Pixels as they are, or less `mean` over `std` of each color, of pixels from 0 to 1."""
    if not {"mean", "std"} & preprocessing.keys():
        return pixels
    mean, std = (
        np.reshape(preprocessing.get(key, default), (-1, 1, 1))
        for key, default in (("mean", 0), ("std", 1))
    )
    return (pixels / 255 - mean) / std


def read_recordings(
    path: str | PathLike[str],
    shape: Sequence[int],
    preprocessing: dict | None,
    limit: int | None = None,
) -> list[Recording]:
    """One recording, or all below a folder, in order; at most `limit`, evenly spread."""
    path = Path(path)
    if not path.exists():
        raise UserError(f"there is no {path}")
    files = (
        sorted(p for p in path.rglob("*") if p.suffix.lower() in _SUFFIXES)
        if path.is_dir()
        else [path]
    )
    if not files:
        raise UserError(f"{path} holds no .bin, .npy or image recordings")
    if limit is not None and limit < len(files):
        files = [files[i * len(files) // limit] for i in range(limit)]
    return [read_recording(file, shape, preprocessing) for file in files]


def sample_beside(model: str | PathLike[str]) -> Path | None:
    """The folder `sample` beside a model file, if there is one."""
    sample = Path(model).parent / "sample"
    return sample if sample.is_dir() else None


def preprocessing_of(metadata: dict[str, str]) -> dict | None:
    """What a model's metadata says of how recordings become frames."""
    return json.loads(metadata[PREPROCESSING]) if PREPROCESSING in metadata else None
