"""Mistakes that are put back fit the code as it is, and are gone afterwards."""

from __future__ import annotations

import pytest

from tests.fuzz import taken_back


@pytest.mark.parametrize("name", taken_back._MISTAKES)
def test_a_mistake_is_put_back_and_taken_away(name):
    patches = taken_back._MISTAKES[name][0]()
    for patch in patches:
        before = patch.start()
        patch.stop()
        assert before is not None
