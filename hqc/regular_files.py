"""Reading files that a user names: whole, regular files of a size that can be meant."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hqc.errors import UserError

_KINDS = {
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


def file_size(path: str | os.PathLike[str]) -> int:
    """The bytes of a regular file.

    Raises `UserError` for what is none: reading a folder fails, a pipe waits, a device never ends.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if stat.S_ISDIR(found.st_mode):
        raise UserError(f"cannot read {path}: Is a directory")
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise UserError(f"cannot read {path}: it is {kind}, not a file")
    return found.st_size


def read_file(path: str | os.PathLike[str], most: int) -> bytes:
    """The content of a regular file. Raises `UserError`, also for more than `most` bytes."""
    size = file_size(path)
    if size > most:
        raise UserError(f"cannot read {path}: it has {size:,} bytes, and may have {most:,}")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str | os.PathLike[str], error: OSError | ValueError) -> UserError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return UserError(f"cannot read {path}: {reason}")
