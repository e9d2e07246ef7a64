"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hqc.errors import UserError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; put it in its place at the end, remove it on failure."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def placing(files: Sequence[Path], folder: Path) -> None:
    """Move files, which lie in a folder of their own inside `folder`, into it, one after the other.

    Where one cannot be moved, what was there before is put back.
    """
    moved: list[tuple[Path, Path]] = []
    *before, last = files
    try:
        for file in before:
            place, kept = folder / file.name, file.with_name(f"{file.name}.old")
            file.chmod(0o644)
            moved.append((place, kept))
            if place.exists():
                place.replace(kept)
            file.replace(place)
        last.chmod(0o644)
        last.replace(folder / last.name)
    except OSError:
        for place, kept in reversed(moved):
            if kept.exists():
                kept.replace(place)
            else:
                place.unlink(missing_ok=True)
        raise


@contextmanager
def replacing_folder(path: str | os.PathLike[str], marker: str) -> Iterator[Path]:
    """Give a temporary folder beside `path`; at the end it takes the place of `path`.

    An existing folder is replaced only if it is empty or holds a file named `marker`, which shows
    that hqc made it. Raises `UserError` otherwise, or where `path` is a file or the current
    directory.
    """
    path = Path(path).resolve()
    if path == Path.cwd():
        raise UserError(
            "the output cannot be the current directory", hint="give one inside it, e.g. -o build"
        )
    if path.is_dir():
        if any(path.iterdir()) and not (path / marker).exists():
            raise UserError(
                f"{path.name} is not empty and was not made by hqc",
                hint="choose another output directory, or empty this one",
            )
    elif path.exists():
        raise UserError(f"{path.name} is a file", hint="give a directory as output")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.is_dir():
            retired = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
            path.replace(retired)
            temporary.replace(path)
            shutil.rmtree(retired)
        else:
            temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
