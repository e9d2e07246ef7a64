"""What a search leaves in its folder, read without torch."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path

from hqc.errors import UserError
from hqc.regular_files import read_file

CONFIG, RECIPE, RESULT = "config.json", "recipe.json", "result.json"
_LARGEST = 64 << 20


def read_result(run: str | PathLike[str], name: str) -> dict:
    """A JSON file of a finished search. Raises `UserError` where there is none."""
    try:
        return json.loads(read_file(Path(run, name), _LARGEST))
    except (UserError, ValueError, RecursionError):
        raise UserError(
            f"{run} is not the folder of a finished search: it has no {name}",
            hint="finish it: hqc search ... --resume",
        ) from None
