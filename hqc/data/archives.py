"""Many recordings in one `.npz` file, as numpy.savez writes them."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hqc.errors import UserError
from hqc.regular_files import file_size

FRAMES, LABELS = ("x", "images", "data", "arr_0"), ("y", "labels", "targets")
"""Names that arrays go by, the usual first."""

_LONGEST_HEADER = 10_000
_LARGEST = 8 << 30


@dataclass(frozen=True)
class Archive:
    """Recordings [N, ...], as they are stored, and their classes [N] where the file has them."""

    frames: np.ndarray
    labels: np.ndarray | None


def read_archive(path: Path) -> Archive:
    """The recordings of a file, in memory as they are stored (bytes stay bytes).

    Raises `UserError` for a file that is none, holds none, or more than 8 GiB, and for labels that
    are not one whole number for each.
    """
    file_size(path)
    try:
        with zipfile.ZipFile(path) as archive:
            held = {n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")}
            frames, labels = _first(FRAMES, held), _first(LABELS, held)
            found = [None if n is None else _array(archive, n) for n in (frames, labels)]
    except UserError as error:
        raise UserError(f"{path}: {error.message}", error.hint) from None
    except MemoryError:
        raise
    except Exception:  # zipfile and numpy raise whatever the file makes them stumble over
        raise UserError(
            f"cannot read {path}: it is not a whole .npz file of numbers",
            hint="write it with numpy.savez(file, x=frames, y=labels)",
        ) from None
    if found[0] is None:
        raise UserError(
            f"{path} holds {', '.join(sorted(held)) or 'no arrays'}, and none of "
            f"{', '.join(FRAMES)}",
            hint="write it with numpy.savez(file, x=frames, y=labels)",
        )
    return Archive(found[0], _checked(path, found[0], labels, found[1]))


def _first(names: Iterable[str], held: set[str]) -> str | None:
    return next((n for n in names if n in held), None)


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array whose header says what its bytes hold, so that no more is taken than is there."""
    entry = archive.getinfo(f"{name}.npy")
    if entry.file_size > _LARGEST:
        raise UserError(
            f"{name!r} takes {entry.file_size:,} bytes, and may take {_LARGEST:,}",
            hint="give a part of it, or folders of .npy files, which are read one by one",
        )
    with archive.open(entry) as file:
        if np.lib.format.read_magic(file) != (1, 0):  # others have headers of any length
            raise ValueError("numbers have a short header")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=_LONGEST_HEADER)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != entry.file_size - file.tell():
            raise ValueError("the header is not that of what follows")
    with archive.open(entry) as file:
        return np.lib.format.read_array(file, max_header_size=_LONGEST_HEADER)


def _checked(
    path: Path, frames: np.ndarray, name: str | None, labels: np.ndarray | None
) -> np.ndarray | None:
    if not frames.ndim:
        raise UserError(f"{path}: its recordings are a single number, not an array [N, ...]")
    if labels is None:
        return None
    if labels.shape != frames.shape[:1] or labels.dtype.kind not in "iu":
        raise UserError(
            f"{path}: labels {name!r} {list(labels.shape)} of {labels.dtype} are not one whole "
            f"number for each of {len(frames)} recordings",
            hint="give the number of each one's class, or leave them out",
        )
    return labels
