"""A compiled model's shared library, called through ctypes."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hqc.errors import UserError

_ALIGNMENT = 64


class _Model(ctypes.Structure):
    _fields_ = (
        ("arena", ctypes.c_void_p),
        ("arena_size", ctypes.c_size_t),
        ("time_step", ctypes.c_int32),
    )


class HostModel:
    """One model in use, with an arena of its own; not for two threads at once."""

    def __init__(
        self,
        library: Path,
        name: str,
        input_shape: Sequence[int],
        output_shape: Sequence[int],
        arena_bytes: int,
    ) -> None:
        try:
            self._library = ctypes.CDLL(str(library.resolve()))
        except OSError as error:
            raise UserError(f"cannot load {library}: {error}") from None
        self._name = name
        self.input_shape, self.output_shape = tuple(input_shape), tuple(output_shape)
        memory = np.zeros(arena_bytes + _ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % _ALIGNMENT
        self._arena = memory[start : start + arena_bytes]
        self._model = _Model()
        self._call(
            "init", self._arena.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(arena_bytes)
        )

    def _call(self, function: str, *arguments: object) -> None:
        status = self._library[f"{self._name}_{function}"](ctypes.byref(self._model), *arguments)
        if status:
            raise RuntimeError(f"{self._name}_{function} returned status {status}")

    def run(self, frames: np.ndarray) -> np.ndarray:
        """All time steps: float32 frames of `input_shape` -> logits of `output_shape`."""
        frames = np.ascontiguousarray(frames, np.float32)
        if frames.size != np.prod(self.input_shape):
            raise UserError(f"frames {list(frames.shape)} are not {list(self.input_shape)}")
        logits = np.empty(self.output_shape, np.float32)
        self._call("run", *(a.ctypes.data_as(ctypes.c_void_p) for a in (frames, logits)))
        return logits
