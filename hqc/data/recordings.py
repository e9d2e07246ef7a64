"""Recordings for verifying, calibrating and benchmarking: files or folders of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from hqc.data.archives import read_archive
from hqc.data.arrays import read_array
from hqc.data.events import events_to_frames, read_events
from hqc.data.frames import as_frames, fitted
from hqc.data.pixels import IMAGE_SUFFIXES, image_to_frames
from hqc.errors import UserError

PREPROCESSING = "hqc.preprocessing"
"""Key of a model's metadata that says, in JSON, how recordings become frames."""


_ARCHIVE = ".npz"
_SUFFIXES = (".bin", ".npy", *IMAGE_SUFFIXES)
_PLURAL = {"events": "events", "image": "images"}
_SIZES = ("time_steps", "height", "width")


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

    A .npy may lack axes of size 1, and one frame of it is repeated over time.
    """
    path = Path(path)
    try:
        frames = as_frames(fitted(_read_frames(path, shape, preprocessing), shape), shape)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except UserError as error:
        raise _named(str(path), error) from None
    return Recording(str(path), frames, _label(path.parent.name))


def _named(name: str, error: UserError) -> UserError:
    """The error with the recording's name in it."""
    where = "" if name in error.message else f"{name}: "
    return UserError(f"{where}{error.message}", error.hint)


def _label(folder: str) -> int | None:
    """The class that a folder's name is, if it is a number."""
    return int(folder) if re.fullmatch("[0-9]{1,9}", folder) else None


def _read_frames(path: Path, shape: Sequence[int], preprocessing: dict | None) -> np.ndarray:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return read_array(path)
    kind = "events" if suffix == ".bin" else "image"
    if suffix not in _SUFFIXES:
        raise UserError(f"{path}: recordings are .bin (events), images, .npy or .npz (frames)")
    if preprocessing is None or preprocessing.get("kind") != kind:
        raise UserError(
            f"{path}: the model does not say how {_PLURAL[kind]} become frames",
            hint=f"export it with preprocessing={{'kind': {kind!r}, ...}}, or give frames as .npy",
        )
    sizes = [preprocessing[key] for key in _SIZES]
    if sizes != [shape[0], *shape[-2:]]:
        raise UserError(
            f"{path}: the model says that {_PLURAL[kind]} become {sizes} time steps, rows and "
            f"columns, but takes {list(shape)}",
            hint="export it with preprocessing of its own sizes, or give frames as .npy",
        )
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


class Recordings(Sequence[Recording]):
    """One recording, or all below a folder or in an archive, in order; at most `limit`, spread.

    Each is read when it is asked for, and not kept. An archive (.npz) holds many, as `x` [N, ...]
    of frames like those of a .npy, and may hold their classes as `y` [N]. `labels` are the classes,
    where they are known. Raises `UserError` where there are none.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        shape: Sequence[int],
        preprocessing: dict | None,
        limit: int | None = None,
    ) -> None:
        path = Path(path)
        if not path.exists():
            raise UserError(f"there is no {path}")
        files = [path]
        if path.is_dir():
            suffixes = (*_SUFFIXES, _ARCHIVE)
            found = (p for p in path.rglob("*") if p.suffix.lower() in suffixes)
            files = sorted(p for p in found if not p.is_dir())
        self._shape, self._preprocessing = shape, preprocessing
        self._archives = {f: read_archive(f) for f in files if f.suffix.lower() == _ARCHIVE}
        places: list[tuple[Path, int]] = []
        for file in files:
            many = len(self._archives[file].frames) if file in self._archives else 1
            places += [(file, i) for i in range(many)]
        if not places:
            raise UserError(f"{path} holds no .bin, .npy, .npz or image recordings")
        if limit is not None and limit < len(places):
            places = [places[i * len(places) // limit] for i in range(limit)]
        self._places = places
        self.labels = [self._label(file, i) for file, i in places]

    def _label(self, file: Path, index: int) -> int | None:
        if file not in self._archives:
            return _label(file.parent.name)
        labels = self._archives[file].labels
        return None if labels is None else int(labels[index])

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number):
        """One recording, or a list of those of a slice. Raises `UserError`."""
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        file, index = self._places[number]
        if file not in self._archives:
            return read_recording(file, self._shape, self._preprocessing)
        name, frames = f"{file}[{index}]", self._archives[file].frames[index]
        try:
            return Recording(
                name, as_frames(fitted(frames, self._shape), self._shape), self.labels[number]
            )
        except UserError as error:
            raise _named(name, error) from None


class Frames(Sequence[np.ndarray]):
    """The frames of recordings alone, read as those are."""

    def __init__(self, recordings: Recordings) -> None:
        self._recordings = recordings

    def __len__(self) -> int:
        return len(self._recordings)

    def __getitem__(self, number):
        """Those of one recording. Raises `UserError`."""
        return self._recordings[number].frames


def read_recordings(
    path: str | PathLike[str],
    shape: Sequence[int],
    preprocessing: dict | None,
    limit: int | None = None,
) -> list[Recording]:
    """The same, all read at once."""
    return list(Recordings(path, shape, preprocessing, limit))


def sample_beside(model: str | PathLike[str]) -> Path | None:
    """The folder `sample` beside a model file, if there is one."""
    sample = Path(model).parent / "sample"
    return sample if sample.is_dir() else None


def preprocessing_of(metadata: Mapping[str, str]) -> dict | None:
    """What a model's metadata says of how recordings become frames. Raises `UserError`."""
    if PREPROCESSING not in metadata:
        return None
    text = metadata[PREPROCESSING]
    try:
        said = json.loads(text)
        sizes = [said[key] for key in _SIZES]
        mean, std = (np.asarray(said.get(k, [1]), float) for k in ("mean", "std"))
        known = said["kind"] in _PLURAL and all(type(s) is int and s > 0 for s in sizes)
        colors = all(c.shape in ((1,), (3,)) and np.isfinite(c).all() for c in (mean, std))
        known = known and colors and bool((std != 0).all())
        names = said.get("classes", ["a class"])
        known = known and bool(names) and all(type(name) is str and name for name in names)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        known = False
    if not known:
        raise UserError(
            f"the model's metadata {PREPROCESSING!r} says nothing that hqc knows: {text[:200]}",
            hint="export it with preprocessing={'kind': 'events' or 'image', 'time_steps': T, "
            "'height': H, 'width': W}; images may have 'mean' and 'std' of three colors, "
            "and all may have 'classes', a list of names",
        )
    return said


@dataclass(frozen=True)
class Preprocessing:
    """What a user says that a model is shown: `kind` events or image, normalized or not."""

    kind: str
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None

    def of(self, shape: Sequence[int]) -> dict:
        """What metadata say of a model of frames [T, 1, C, H, W]. Raises `UserError`."""
        channels, height, width = shape[-3:]
        said: dict = {"kind": self.kind, "time_steps": shape[0], "height": height, "width": width}
        wanted = {"image": 3, "events": 2}[self.kind]
        if channels != wanted:
            raise UserError(
                f"--preprocessing {self.kind}: the model takes {channels} channels, and "
                f"{_PLURAL[self.kind]} have {wanted}",
                hint="leave it out, and give frames as .npy",
            )
        said |= {k: list(v) for k, v in (("mean", self.mean), ("std", self.std)) if v is not None}
        preprocessing_of({PREPROCESSING: json.dumps(said)})
        return said


def class_names(preprocessing: dict | None, classes: int) -> list[str] | None:
    """What a model's classes are called; None where it does not say. Raises `UserError`."""
    names = (preprocessing or {}).get("classes")
    if names is not None and len(names) != classes:
        raise UserError(
            f"the model names {len(names)} classes, and gives {classes} logits",
            hint="export it with as many 'classes' in its preprocessing as it has logits",
        )
    return names
