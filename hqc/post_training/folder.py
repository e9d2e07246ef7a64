"""The folder of a search: what was asked for, and what was found."""

from __future__ import annotations

import json
from collections.abc import Callable
from os import PathLike
from pathlib import Path

from hqc.atomic_files import replacing
from hqc.errors import UserError
from hqc.search.results import CONFIG


class Folder:
    """Files of one search; each is written whole or not at all.

    `config.json` is what was asked for; a search that is resumed must ask for the same. Raises
    `UserError` for a folder that is not empty, or that holds nothing to resume.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        config: dict,
        *,
        resume: bool = False,
        progress: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.path, self.progress = Path(path), progress
        there = self.path / CONFIG
        if resume:
            if not there.exists():
                raise UserError(f"{path} holds no search to resume")
            before = json.loads(there.read_text())
            changed = [k for k in config if before.get(k) != config[k]]
            if changed:
                raise UserError(
                    f"{path} was searched with other options: {', '.join(changed)}",
                    hint=f"resume with those in {there}, or start anew in another folder",
                )
            return
        if self.path.exists() and any(self.path.iterdir()):
            raise UserError(
                f"{path} is not empty", hint="continue with --resume, or choose another folder"
            )
        self.write_json(CONFIG, config)

    def write_json(self, name: str, data: object) -> None:
        """Write a JSON file."""
        self._write(name, lambda file: file.write_text(json.dumps(data, indent=2) + "\n"))

    def _write(self, name: str, write: Callable[[Path], object]) -> None:
        with replacing(self.path / name) as file:
            write(file)

    def draw(self, name: str, picture: Callable, *found: object) -> None:
        """Draw a picture of `hqc.search.plots` into the folder."""
        picture(*found, self.path / name)
