"""Arrays in `.npy` files, as numpy.save writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hqc.errors import UserError
from hqc.regular_files import file_size

_LONGEST_HEADER = 10_000


def read_array(path: Path) -> np.ndarray:
    """The array of a file, which stays on disk until its numbers are used; read-only.

    Raises `UserError` for a file that is none, that is cut short, or that holds Python objects.
    """
    file_size(path)
    with path.open("rb") as file:
        start = file.read(12)
    try:
        # numpy reads a header of any length before it looks at the length.
        if start[6:7] > b"\x01" and int.from_bytes(start[8:12], "little") > _LONGEST_HEADER:
            raise ValueError("the header is too long")
        return np.lib.format.open_memmap(path, mode="r", max_header_size=_LONGEST_HEADER)
    except Exception:  # numpy raises whatever the header makes it stumble over
        raise UserError(
            f"cannot read {path}: it is not a whole .npy file of numbers",
            hint="write it with numpy.save(file, frames)",
        ) from None
