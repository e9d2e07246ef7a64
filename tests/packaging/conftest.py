"""Small artifacts for many targets, each compiled once."""

from __future__ import annotations

import pytest

import hqc
from tests.embed.programs import small_network


@pytest.fixture(scope="session")
def tiny(tiny_model, once):
    """Compile the small network for a target, once."""

    def compiled(target, name="tiny"):
        def make(folder):
            hqc.compile(tiny_model, target, folder / "build", name=name)

        return hqc.Artifact.open(once(f"{name}-{target}", make) / "build")

    return compiled


@pytest.fixture(scope="session")
def pictures(once):
    """A small network that is shown an image at every time step."""

    def make(folder):
        model = small_network(folder / "net.onnx", scale=0.75, kind="image")
        hqc.compile(model, "host", folder / "build", name="pictures")

    return hqc.Artifact.open(once("pictures", make) / "build")
