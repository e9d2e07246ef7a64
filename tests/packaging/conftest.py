"""Small artifacts for many targets, each compiled once."""

from __future__ import annotations

import pytest

import hqc


@pytest.fixture(scope="session")
def tiny(tiny_model, once):
    """Compile the small network for a target, once."""

    def compiled(target, name="tiny"):
        def make(folder):
            hqc.compile(tiny_model, target, folder / "build", name=name)

        return hqc.Artifact.open(once(f"{name}-{target}", make) / "build")

    return compiled
