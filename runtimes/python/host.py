"""A compiled model's shared library, called through ctypes."""

from __future__ import annotations

import ctypes
import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hqc.data.frames import as_frames
from hqc.errors import UserError
from hqc.regular_files import read_file

_ALIGNMENT = 64
_LARGEST_LIBRARY = 2 << 30


class _Model(ctypes.Structure):
    _fields_ = (
        ("arena", ctypes.c_void_p),
        ("arena_size", ctypes.c_size_t),
        ("magic", ctypes.c_uint32),
        ("time_step", ctypes.c_int32),
        ("logits", ctypes.c_uint32),
    )


def _load(library: Path, sha256: str) -> ctypes.CDLL:
    """A shared library, loaded from a copy of its own.

    The loader of the operating system gives a file that it has loaded before once more, whatever
    the file holds by now; and it trusts a file that is cut short.
    """
    content = read_file(library, _LARGEST_LIBRARY)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(f"{library} is not as hqc wrote it", hint="compile its model again")
    with tempfile.TemporaryDirectory(prefix="hqc-load-") as folder:
        copy = Path(folder, library.name)
        copy.write_bytes(content)
        try:
            return ctypes.CDLL(str(copy))
        except OSError as error:
            raise UserError(
                f"cannot load {library}: {error}",
                hint="was it compiled on this machine? if programs may not run from "
                f"{tempfile.gettempdir()}, set TMPDIR to a folder that they may run from",
            ) from None


class HostModel:
    """One model in use, with an arena of its own; not for two threads at once.

    `sha256` is that of the library, whose shapes and arena the others are.
    """

    def __init__(
        self,
        library: Path,
        sha256: str,
        name: str,
        input_shape: Sequence[int],
        output_shape: Sequence[int],
        arena_bytes: int,
    ) -> None:
        self._library = _load(library, sha256)
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
        """All time steps: frames of `input_shape` -> float32 logits of `output_shape`.

        Frames of other real numbers are converted to float32. Raises `UserError` for other shapes
        and for numbers that are not finite.
        """
        frames = as_frames(frames, self.input_shape)
        logits = np.empty(self.output_shape, np.float32)
        self._call("run", *(a.ctypes.data_as(ctypes.c_void_p) for a in (frames, logits)))
        return logits
