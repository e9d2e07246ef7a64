"""Event-camera datasets of larger sensors: CIFAR10-DVS, DVS128 Gesture, N-Caltech101.

Files are read when they are asked for; `tonic` reads the camera formats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from hqc.data.arrays import read_array
from hqc.data.augment import mirrored, shifted
from hqc.data.events import EVENT, events_to_frames, read_events
from hqc.data.task import FileFrames, Labelled, Task, loader
from hqc.errors import UserError

_GESTURES = 11
_TRAINED = 0.9
"""The share of a class's recordings that are for training, where a dataset has no split."""


def read_camera_events(path: Path) -> np.ndarray:
    """Events of a `.bin`, `.aedat` (2.0, DVS128), `.aedat4` or tonic's `.npy`, as `EVENT`."""
    if path.suffix == ".bin":
        return read_events(path)
    reader = {".aedat": _read_aedat, ".aedat4": _read_aedat4, ".npy": _read_npy}[path.suffix]
    try:
        x, y, t, p = reader(path)
    except UserError:
        raise
    except Exception as error:  # tonic's readers raise whatever they stumble over
        raise UserError(f"cannot read {path}: {error or type(error).__name__}") from None
    events = np.empty(len(x), EVENT)
    events["x"], events["y"], events["t"], events["p"] = x, y, t, p
    return events


def _tonic(path: Path):
    try:
        import tonic.io
    except ImportError:
        raise UserError(f"{path} needs tonic to be read", hint="pip install tonic") from None
    return tonic.io


def _read_aedat(path: Path) -> tuple[np.ndarray, ...]:
    tonic_io = _tonic(path)
    version, start, *_ = tonic_io.read_aedat_header_from_file(str(path))
    if not 2 <= version < 3:
        raise UserError(f"{path}: AEDAT {version}, not 2.0")
    events = tonic_io.get_aer_events_from_file(str(path), version, start)
    address = events["address"].astype(np.int64)
    return address >> 8 & 127, address >> 1 & 127, events["timeStamp"], address & 1


def _read_aedat4(path: Path) -> tuple[np.ndarray, ...]:
    tonic_io = _tonic(path)
    try:
        events = tonic_io.read_aedat4(str(path))
    except ImportError:
        raise UserError(f"{path} needs aedat to be read", hint="pip install aedat") from None
    t, x, y, p = (events[name] for name in events.dtype.names)
    return x, y, t, p


def _read_npy(path: Path) -> tuple[np.ndarray, ...]:
    events = read_array(path)
    if events.ndim != 2 or events.shape[1] != 4:
        raise UserError(f"{path}: {list(events.shape)} are not events [n, 4] of x, y, polarity, t")
    x, y, p, t = events.T
    return x, y, t, p


def _labelled(recordings: Sequence[tuple[Path, int]], read: Callable) -> Labelled:
    """Frames of files that are read when they are asked for, with their classes."""
    files = [file for file, _ in recordings]
    return FileFrames(files, read), torch.tensor([label for _, label in recordings])


def _frames(path: Path, time_steps: int, height: int, width: int, at_origin: bool = False):
    events = read_camera_events(path)
    if at_origin and events.size:
        events["x"] -= events["x"].min()
        events["y"] -= events["y"].min()
    return events_to_frames(events, time_steps, height, width)


def _by_class(folder: Path, suffixes: Sequence[str], read: Callable) -> tuple[Labelled, Labelled]:
    """Folders of classes, each split into its first nine tenths and the rest."""
    classes = sorted(p for p in folder.iterdir() if p.is_dir())
    train: list[tuple[Path, int]] = []
    test: list[tuple[Path, int]] = []
    for label, place in enumerate(classes):
        files = sorted(f for f in place.iterdir() if f.suffix in suffixes)
        cut = max(int(len(files) * _TRAINED), 1)
        train += [(file, label) for file in files[:cut]]
        test += [(file, label) for file in files[cut:]]
    if not (train and test):
        raise UserError(
            f"{folder} holds no recordings for training and testing",
            hint=f"it needs a folder a class, with two files or more of {', '.join(suffixes)}",
        )
    return _labelled(train, read), _labelled(test, read)


def _events(time_steps: int, height: int, width: int) -> dict:
    return {"kind": "events", "time_steps": time_steps, "height": height, "width": width}


@loader("cifar10dvs", time_steps=16)
def load_cifar10dvs(folder: Path, time_steps: int) -> Task:
    """CIFAR10-DVS (Li et al. 2017): <class>/*.aedat or *.aedat4; no split of its own."""
    read = partial(_frames, time_steps=time_steps, height=128, width=128)
    train, test = _by_class(folder, (".aedat", ".aedat4"), read)

    def vary(frames, generator):
        return mirrored(shifted(frames, generator, 8), generator)

    return Task(train, test, vary, _events(time_steps, 128, 128))


@loader("dvsgesture", time_steps=16)
def load_dvs_gesture(folder: Path, time_steps: int) -> Task:
    """DVS128 Gesture (Amir et al. 2017), as tonic unpacks it: ibmGestureTrain/*/<class>.npy."""
    read = partial(_frames, time_steps=time_steps, height=128, width=128)
    parts = []
    for name in ("ibmGestureTrain", "ibmGestureTest"):
        files = [f for f in sorted((folder / name).glob("*/*.npy")) if f.stem.isdigit()]
        recordings = [(file, int(file.stem)) for file in files]
        if not files or max(label for _, label in recordings) >= _GESTURES:
            raise UserError(
                f"{folder / name} holds no recordings USER/CLASS.npy of classes 0 to 10",
                hint="tonic.datasets.DVSGesture(save_to=...) downloads and unpacks them",
            )
        parts.append(_labelled(recordings, read))
    train, test = parts
    return Task(train, test, partial(shifted, pixels=8), _events(time_steps, 128, 128))


@loader("ncaltech101", time_steps=16)
def load_ncaltech101(folder: Path, time_steps: int) -> Task:
    """N-Caltech101 (Orchard et al. 2015): Caltech101/<class>/*.bin; no split of its own."""
    inner = folder / "Caltech101"
    read = partial(_frames, time_steps=time_steps, height=180, width=240, at_origin=True)
    train, test = _by_class(inner if inner.is_dir() else folder, (".bin",), read)
    return Task(train, test, partial(shifted, pixels=8), _events(time_steps, 180, 240))
