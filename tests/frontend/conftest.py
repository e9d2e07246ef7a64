"""Modules are exported by the hundred here, some by torch alone."""

from __future__ import annotations

import pytest

from hqc.frontend.quick_export import quick


@pytest.fixture(scope="session", autouse=True)
def quick_exports():
    with quick():
        yield
