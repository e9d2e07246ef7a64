"""What a compilation leaves on disk, read back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path

import numpy as np

from hqc.errors import UserError
from hqc.runtimes.python import HostModel
from hqc.targets import Target, load_target

MANIFEST = "hqc.json"
"""The file that marks a folder as an artifact, and names the model's own manifest."""


@dataclass(frozen=True)
class Artifact:
    """A folder written by `hqc compile`; `manifest` is its NAME.json."""

    folder: Path
    manifest: dict

    @classmethod
    def open(cls, folder: str | PathLike[str]) -> Artifact:
        """Read an artifact. Raises `UserError` for a folder that is none."""
        folder = Path(folder)
        try:
            name = json.loads((folder / MANIFEST).read_text())["model"]
            manifest = json.loads((folder / f"{name}.json").read_text())
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(
                f"{folder} is not a compiled model",
                hint="make one: hqc compile MODEL --target host -o FOLDER",
            ) from None
        return cls(folder, manifest)

    @property
    def name(self) -> str:
        """The model's name, prefix of its files and symbols."""
        return self.manifest["name"]

    @property
    def model_file(self) -> Path:
        """The dialect model that it was compiled from."""
        return self.folder / f"{self.name}.onnx"

    @property
    def recordings(self) -> Path | None:
        """The recordings that firing rates were measured on; None where they are not there."""
        said = self.manifest["source"].get("recordings")
        found = self.folder / said if said else None
        return found if found and found.exists() else None

    @cached_property
    def target(self) -> Target:
        """The target that it was compiled for, as it was then."""
        return load_target(str(self.folder / f"{self.name}.hqt"))

    @cached_property
    def host_model(self) -> HostModel:
        """The model loaded into this process. Raises `UserError` for another target's."""
        library = self.folder / f"{self.name}.so"
        if not library.exists():
            raise UserError(
                f"{self.folder} is compiled for {self.manifest['target']}, not for this machine",
                hint="compile with --target host to run here, or hqc verify to use an emulator",
            )
        return HostModel(
            library,
            self.name,
            self.manifest["input"]["shape"],
            self.manifest["output"]["shape"],
            self.manifest["memory"]["arena_bytes"],
        )

    def run(self, frames: np.ndarray) -> np.ndarray:
        """Frames of the model's input shape -> logits, on this machine."""
        return self.host_model.run(frames)
