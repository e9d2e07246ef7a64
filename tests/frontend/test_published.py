"""The field's networks, laid out as their authors' code has them, small: examples/published."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "examples" / "published" / "table.py"


def _table():
    spec = importlib.util.spec_from_file_location("published_table", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["published_table"] = module
    spec.loader.exec_module(module)
    return module


TABLE = _table()

FLIPPED = {"spike-yolo-2-steps", "zoo-spiking-resnet"}
"""Networks of which a potential meets its threshold, where float32 decides as it rounds."""


@pytest.mark.parametrize("name", TABLE.networks())
def test_compiled_classes_are_the_networks_own(name, tmp_path):
    row = TABLE.measured(name, TABLE.networks()[name], ["host"], True, 4, tmp_path)
    assert row.explained
    assert row.same == {"host": "4/4"}
    assert row.apart <= 1e-4 or name in FLIPPED
    assert row.rates[0] > 0, "a layer is silent"
    assert row.plain <= 0.05
