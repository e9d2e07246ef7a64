"""The small network for every target."""

from __future__ import annotations

import pytest

from hqc.targets import target_names
from tests.embed.programs import compiled


@pytest.fixture(scope="session")
def tiny_libraries(once, tiny_model):
    """A folder with a library, called net, in a folder of each target's name."""

    def make(folder):
        for target in target_names():
            compiled(tiny_model, target, folder / target)

    return once("tiny-libraries", make)
