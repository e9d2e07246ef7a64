"""A compiled model's shared library, called through ctypes."""

from __future__ import annotations

import ctypes
import hashlib
import tempfile
from collections.abc import Callable, Iterable, Sequence
from operator import length_hint
from pathlib import Path

import numpy as np

from hqc.data.frames import as_frames
from hqc.errors import UserError
from hqc.regular_files import read_file
from hqc.threads import in_threads, thread_count

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


class _Instance:
    """A model's state and the arena that it works in: of one thread at a time."""

    def __init__(self, arena_bytes: int) -> None:
        memory = np.zeros(arena_bytes + _ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % _ALIGNMENT
        self.arena = memory[start : start + arena_bytes]
        self.model = _Model()
        self.address = ctypes.addressof(self.model)


class HostModel:
    """One model in use, by any number of threads: each that runs it at once has an arena.

    Arenas are kept for the next runs, so there are as many as runs were at once. `sha256` is that
    of the library, whose shapes and arena the others are.
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
        self._arena_bytes = arena_bytes
        # Looked up once: ctypes makes an object anew for every look, and for every pointer.
        self._init = self._function("init", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
        self._run = self._function("run", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
        self._idle = [self._instance()]

    def _function(self, name: str, *arguments: type) -> Callable[..., int]:
        function = self._library[f"{self._name}_{name}"]
        function.argtypes, function.restype = arguments, ctypes.c_int32
        return function

    def _check(self, function: str, status: int) -> None:
        if status:
            raise RuntimeError(f"{self._name}_{function} returned status {status}")

    def _instance(self) -> _Instance:
        made = _Instance(self._arena_bytes)
        self._check("init", self._init(made.address, made.arena.ctypes.data, self._arena_bytes))
        return made

    def run(self, frames: np.ndarray) -> np.ndarray:
        """All time steps: frames of `input_shape` -> float32 logits of `output_shape`.

        Frames of other real numbers are converted to float32. Raises `UserError` for other shapes
        and for numbers that are not finite.
        """
        return self._logits(as_frames(frames, self.input_shape))

    def run_batch(self, recordings: Iterable[np.ndarray], threads: int | None = None) -> np.ndarray:
        """Frames [N, T, C, H, W], or N of [T, C, H, W] -> float32 logits [N, classes].

        They may have the axis of `input_shape` that is 1. Logits are [N, T, classes] where
        `output_shape` has all time steps. Recordings are asked for one by one, in order, and
        computed by `threads`, by default one for each core that this process may use. The logits
        are those of `run`, in every bit. Raises `UserError` as `run` does, for the first recording
        that is wrong, and says which.
        """
        threads = thread_count(threads)
        try:
            threads = max(min(threads, length_hint(recordings, threads)), 1)
            numbered = enumerate(recordings)
        except TypeError:
            raise UserError(
                f"recordings are no array and no list: {type(recordings).__name__}",
                hint="give an array [N, T, C, H, W], or a list of arrays [T, C, H, W]",
            ) from None
        steps, _, *size = self.input_shape
        *axes, classes = self.output_shape

        def logits_of(recording: tuple[int, np.ndarray]) -> np.ndarray:
            number, given = recording
            try:
                frames = as_frames(given, self.input_shape, (steps, *size))
            except UserError as error:
                raise UserError(f"recordings[{number}]: {error.message}", error.hint) from None
            return self._logits(frames)

        rows = in_threads(logits_of, numbered, threads)
        shape = len(rows), *(n for n in axes if n != 1), classes
        return np.array(rows, np.float32).reshape(shape)

    def _logits(self, frames: np.ndarray) -> np.ndarray:
        try:
            instance = self._idle.pop()
        except IndexError:  # all are at work in other threads
            instance = self._instance()
        logits = np.empty(self.output_shape, np.float32)
        self._check("run", self._run(instance.address, frames.ctypes.data, logits.ctypes.data))
        self._idle.append(instance)
        return logits
