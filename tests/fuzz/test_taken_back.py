"""Mistakes that are put back fit the code as it is: each patches something that is there."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.fuzz import taken_back


@pytest.mark.parametrize("name", taken_back._MISTAKES)
def test_a_mistake_fits_the_code(name):
    with ExitStack() as stack:
        for patch in taken_back._MISTAKES[name][0]():
            stack.enter_context(patch)
