"""Modules are exported by the hundred here."""

from __future__ import annotations

import copy
from functools import cache

import pytest
from torch.onnx._internal.exporter._registration import ONNXRegistry


@pytest.fixture(scope="session", autouse=True)
def one_table_of_translations():
    """Torch writes its table of ONNX's functions anew for each export, which takes longer than
    the export of a small module: here each gets a copy of the first."""
    written = cache(ONNXRegistry.from_torchlib)

    def copied(**arguments):
        table = copy.copy(written(**arguments))
        table.functions = {name: [*found] for name, found in table.functions.items()}
        return table

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(copied))
        yield
