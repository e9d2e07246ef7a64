"""Event-camera recordings: the five-byte N-MNIST format, and binning into frames."""

from __future__ import annotations

from os import PathLike

import numpy as np

from hqc.errors import UserError
from hqc.regular_files import read_file

EVENT = np.dtype([("x", "<i8"), ("y", "<i8"), ("t", "<i8"), ("p", "<i8")])

_LARGEST = 16 << 20
_OVERFLOW_ROW = 240
_OVERFLOW_MICROSECONDS = 1 << 13


def read_events(path: str | PathLike[str]) -> np.ndarray:
    """Read an N-MNIST `.bin` recording (Orchard et al. 2015): 40 bits an event, big endian.

    x (8 bits), y (8 bits), polarity (1 bit), time in microseconds (23 bits). A row of 240 marks a
    timer overflow, not an event. Returns a structured array of `EVENT`, equal to that of
    `tonic.io.read_mnist_file`. Raises `UserError` where the file is no such recording.
    """
    raw = np.frombuffer(read_file(path, _LARGEST), dtype=np.uint8)
    if raw.size == 0 or raw.size % 5:
        raise UserError(
            f"{path}: {raw.size} bytes is not a whole number of 5-byte events",
            hint="give an N-MNIST .bin recording, or frames as .npy",
        )
    x, y, high, middle, low = raw.reshape(-1, 5).T
    events = np.empty(x.size, dtype=EVENT)
    events["x"], events["y"], events["p"] = x, y, high >> 7
    events["t"] = np.cumsum(y == _OVERFLOW_ROW) * _OVERFLOW_MICROSECONDS + low
    for byte, shift in ((high & 127, 16), (middle, 8)):
        events["t"] += byte.astype(np.int64) << shift
    return events[y != _OVERFLOW_ROW]


def events_to_frames(events: np.ndarray, time_steps: int, height: int, width: int) -> np.ndarray:
    """Count events per time step, polarity and pixel: uint8 [T, 2, H, W], saturating at 255.

    Time steps divide the span from first to last event evenly. Raises `UserError` for an event
    outside the sensor.
    """
    frames = np.zeros((time_steps, 2, height, width), dtype=np.int64)
    if events.size:
        if events["x"].max() >= width or events["y"].max() >= height:
            raise UserError(
                f"an event at x={events['x'].max()}, y={events['y'].max()} lies outside "
                f"the model's {width} x {height} sensor",
                hint="was this recorded with another camera?",
            )
        since_first = events["t"] - events["t"].min()
        step = since_first * time_steps // (since_first.max() + 1)
        np.add.at(frames, (step, events["p"], events["y"], events["x"]), 1)
    return np.minimum(frames, 255).astype(np.uint8)
