"""A compiled model's shared library, called through ctypes."""

from __future__ import annotations

import ctypes
import hashlib
import os
import tempfile
import weakref
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


class _Team(ctypes.Structure):
    _fields_ = (
        ("threads", ctypes.c_int32),
        ("run", ctypes.c_void_p),
        ("context", ctypes.c_void_p),
    )


class _Model(ctypes.Structure):
    _fields_ = (
        ("arena", ctypes.c_void_p),
        ("arena_size", ctypes.c_size_t),
        ("magic", ctypes.c_uint32),
        ("time_step", ctypes.c_int32),
        ("logits", ctypes.c_uint32),
        ("team", _Team),  # of libraries for several threads
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
        self.pool: _Pool | None = None


class _Pool:
    """Threads that share the inferences of one instance, as long as this lives."""

    def __init__(self, library: ctypes.CDLL, threads: int) -> None:
        self._memory = np.zeros(ctypes.c_size_t.in_dll(library, "hqc_pool_bytes").value, np.uint8)
        self.address = ctypes.c_void_p(self._memory.ctypes.data)
        error = library.hqc_pool_start(self.address, threads)
        if error:
            raise OSError(error, f"cannot start {threads} threads: {os.strerror(error)}")
        weakref.finalize(self, _stop, library, self._memory, os.getpid())


def _stop(library: ctypes.CDLL, memory: np.ndarray, process: int) -> None:
    """End a pool's threads, which a process forked off does not have."""
    if os.getpid() == process:
        library.hqc_pool_stop(ctypes.c_void_p(memory.ctypes.data))


class HostModel:
    """One model in use, by any number of threads: each that runs it at once has an arena.

    Arenas are kept for the next runs, so there are as many as runs were at once. `sha256` is that
    of the library, whose shapes, arena and number of threads the others are.
    """

    def __init__(
        self,
        library: Path,
        sha256: str,
        name: str,
        input_shape: Sequence[int],
        output_shape: Sequence[int],
        arena_bytes: int,
        threads: int,
    ) -> None:
        self._library = _load(library, sha256)
        self._name = name
        self.input_shape, self.output_shape = tuple(input_shape), tuple(output_shape)
        self._arena_bytes, self._most_threads = arena_bytes, threads
        # Looked up once: ctypes makes an object anew for every look, and for every pointer.
        self._init = self._function("init", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
        self._run = self._function("run", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
        self._idle = {(1, None): [self._instance(1)]}

    def _function(self, name: str, *arguments: type) -> Callable[..., int]:
        function = self._library[f"{self._name}_{name}"]
        function.argtypes, function.restype = arguments, ctypes.c_int32
        return function

    def _check(self, function: str, status: int) -> None:
        if status:
            raise RuntimeError(f"{self._name}_{function} returned status {status}")

    def _instance(self, threads: int) -> _Instance:
        made = _Instance(self._arena_bytes)
        self._check("init", self._init(made.address, made.arena.ctypes.data, self._arena_bytes))
        if threads > 1:
            made.pool = _Pool(self._library, threads)
            pointer, number = ctypes.c_void_p, ctypes.c_int32
            share = self._function("set_threads", pointer, number, pointer, pointer)
            run = ctypes.cast(self._library.hqc_pool_run, pointer)
            self._check("set_threads", share(made.address, threads, run, made.pool.address))
        return made

    def run(self, frames: np.ndarray, threads: int = 1) -> np.ndarray:
        """All time steps: frames of `input_shape` -> float32 logits of `output_shape`.

        They are computed by `threads`, which gives the same in every bit. Frames of other real
        numbers are converted to float32. Raises `UserError` for other shapes, for numbers that are
        not finite, and for more threads than the library was compiled for.
        """
        if not 1 <= threads <= self._most_threads:
            raise UserError(
                f"{threads} threads cannot share an inference of {self._name}: it is compiled for "
                f"{self._most_threads}",
                hint="compile it with --threads N, and ask for 1 to N",
            )
        return self._logits(as_frames(frames, self.input_shape), threads)

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

    def _logits(self, frames: np.ndarray, threads: int = 1) -> np.ndarray:
        # A process that is forked off has the memory of a pool, and none of its threads.
        process = os.getpid() if threads > 1 else None
        idle = self._idle.setdefault((threads, process), [])
        try:
            instance = idle.pop()
        except IndexError:  # all are at work in other threads
            instance = self._instance(threads)
        logits = np.empty(self.output_shape, np.float32)
        self._check("run", self._run(instance.address, frames.ctypes.data, logits.ctypes.data))
        idle.append(instance)
        return logits
