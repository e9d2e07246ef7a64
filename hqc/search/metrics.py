"""The metrics of a search: one JSON object a line, one line an epoch."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path

from hqc.errors import UserError

METRICS = "metrics.jsonl"


def read_metrics(folder: str | PathLike[str]) -> list[dict]:
    """Every line of a search's metrics. Raises `UserError` where there are none."""
    try:
        return [json.loads(line) for line in Path(folder, METRICS).read_text().splitlines()]
    except (OSError, ValueError):
        raise UserError(
            f"{folder} is not the folder of a search: it has no {METRICS}",
            hint="make one: hqc search ... -o FOLDER",
        ) from None
