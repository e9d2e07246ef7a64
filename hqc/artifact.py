"""What a compilation leaves on disk, read back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path

import numpy as np

from hqc.errors import UserError
from hqc.regular_files import read_file
from hqc.runtimes.python import HostModel
from hqc.targets import Target, load_target
from hqc.version import VERSION

MANIFEST = "hqc.json"
"""The file that marks a folder as an artifact, and names the model's own manifest and its hash."""

_LARGEST_MANIFEST = 64 << 20


def marker_of(name: str, manifest: bytes) -> dict:
    """What `MANIFEST` says of a model and of the bytes of its NAME.json."""
    return {"hqc": VERSION, "model": name, "sha256": hashlib.sha256(manifest).hexdigest()}


def _read_manifest(folder: Path) -> dict:
    """The NAME.json of an artifact, as it was written. Raises `UserError`."""
    try:
        marker = json.loads(read_file(folder / MANIFEST, _LARGEST_MANIFEST))
        version, name = marker["hqc"], marker["model"]
        content = b"" if version != VERSION else _content(folder, str(name))
    except (UserError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError(
            f"{folder} is not a compiled model",
            hint="make one: hqc compile MODEL --target host -o FOLDER",
        ) from None
    if version != VERSION:
        raise UserError(
            f"{folder} was compiled by hqc {version}; this is hqc {VERSION}",
            hint="compile its model again",
        )
    if marker != marker_of(name, content):
        raise UserError(
            f"{folder / name}.json is not as hqc wrote it", hint="compile its model again"
        )
    return json.loads(content)


def _content(folder: Path, name: str) -> bytes:
    return read_file(folder / f"{name}.json", _LARGEST_MANIFEST)


@dataclass(frozen=True)
class Artifact:
    """A folder written by `hqc compile`; `manifest` is its NAME.json.

    Where the folder is compiled into anew, an artifact that was opened before refuses to read it.
    """

    folder: Path
    manifest: dict

    @classmethod
    def open(cls, folder: str | PathLike[str]) -> Artifact:
        """Read an artifact. Raises `UserError` for a folder that is none, or of another version."""
        return cls(Path(folder), _read_manifest(Path(folder)))

    @property
    def name(self) -> str:
        """The model's name, prefix of its files and symbols."""
        return self.manifest["name"]

    def file(self, suffix: str) -> Path:
        """The file NAME + suffix. Raises `UserError` where the folder holds another model now."""
        if _read_manifest(self.folder) != self.manifest:
            raise UserError(
                f"{self.folder} was compiled anew after this artifact of it was opened",
                hint="open it again: hqc.Artifact.open(folder); or compile into a folder each",
            )
        return self.folder / f"{self.name}{suffix}"

    @property
    def model_file(self) -> Path:
        """The dialect model that it was compiled from."""
        return self.file(".onnx")

    @property
    def recordings(self) -> Path | None:
        """The recordings that firing rates were measured on; None where they are not there."""
        said = self.manifest["source"].get("recordings")
        found = self.folder / said if said else None
        return found if found and found.exists() else None

    @cached_property
    def target(self) -> Target:
        """The target that it was compiled for, as it was then."""
        return load_target(str(self.file(".hqt")))

    @cached_property
    def host_model(self) -> HostModel:
        """The model loaded into this process. Raises `UserError` for another target's."""
        library = self.manifest["library"]
        if library is None:
            raise UserError(
                f"{self.folder} is compiled for {self.manifest['target']}, not for this machine",
                hint="compile with --target host to run here, or hqc verify to use an emulator",
            )
        return HostModel(
            self.file(".so"),
            library["sha256"],
            self.name,
            self.manifest["input"]["shape"],
            self.manifest["output"]["shape"],
            self.manifest["memory"]["arena_bytes"],
            self.manifest["threads"],
        )

    def run(self, frames: np.ndarray, threads: int = 1) -> np.ndarray:
        """Frames of the model's input shape [T, 1, C, H, W] -> logits, on this machine.

        Frames are converted to float32. So many `threads` share the inference, at most as many as
        it was compiled for; logits are the same in every bit. Raises `UserError` for other shapes,
        for what are no finite real numbers, and for more threads. May be called by several threads
        at once.
        """
        return self.host_model.run(frames, threads)

    def run_batch(self, recordings: Iterable[np.ndarray], threads: int | None = None) -> np.ndarray:
        """Frames of many recordings, [N, T, C, H, W] -> logits [N, classes], on this machine.

        `recordings` is an array, or a list or generator of arrays [T, C, H, W]; [T, 1, C, H, W] do
        as well. A model that gives classes at every time step gives [N, T, classes]. Recordings are
        computed by `threads` threads (by default one for each core that this process may use), each
        in an arena of its own, and are asked for one by one, in order, when a thread is free. Row i
        equals `run` on recording i in every bit. Raises `UserError` as `run` does, for the first
        recording that is wrong, as `recordings[i]`.
        """
        return self.host_model.run_batch(recordings, threads)
