"""What the N-MNIST example takes on microcontrollers, and what `--optimize` changes."""

from __future__ import annotations

import subprocess

import pytest

import hqc
from hqc.errors import UserError
from hqc.targets import load_target
from tests.conftest import MODEL, NMNIST

KIB = 1024


def code_bytes(artifact):
    """Bytes of kernels and entry, weights excluded."""
    library = artifact.folder / f"lib{artifact.name}.a"
    done = subprocess.run(["size", library], capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    return sum(int(row[0]) for row in rows if "weights" not in row[5])


@pytest.fixture(scope="module", params=["cortex-m4", "rv32imc"])
def small(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "build"
    return hqc.compile(MODEL, target=request.param, output=folder)


def test_code_and_memory_fit_a_microcontroller(small):
    memory, code = small.manifest["memory"], code_bytes(small)
    most = {"cortex-m4": 48 * KIB, "rv32imc": 30 * KIB}[small.manifest["target"]]
    assert code <= most
    assert code + memory["constant_bytes"] <= 130_000
    assert memory["stream_arena_bytes"] <= 300 * KIB
    assert memory["arena_bytes"] <= 70_000


def test_speed_keeps_potentials_in_32_bits(small, tmp_path):
    target = small.manifest["target"]
    fast = hqc.compile(MODEL, target=target, output=tmp_path / "fast", optimize="speed")
    kept = {
        name: sum(a["bytes"] for a in made.manifest["areas"]["stream"] if a["kind"] == "potential")
        for name, made in (("small", small), ("fast", fast))
    }
    neurons = 118_008
    assert kept["fast"] == 4 * neurons
    first = 12 * 34 * 34  # frames of 0 to 255 push its potentials beyond 16 bits
    assert kept["small"] == 2 * neurons + 2 * first
    assert code_bytes(small) < code_bytes(fast)


def test_targets_say_what_they_are_optimized_for():
    asked = {name: load_target(name).optimize for name in ("cortex-m7", "cortex-m55", "host")}
    assert asked == {"cortex-m7": "size", "cortex-m55": "speed", "host": "speed"}
    assert load_target("host", "size").optimize == "size"


def test_vectors_keep_potentials_in_16_bits_too():
    found = hqc.verify(MODEL, data=NMNIST / "sample" / "3", optimize="size")
    assert found.compiled_differs == found.stream_differs == found.kernels_differ == 0
    assert not found.unexplained


def test_other_words_are_refused(tmp_path):
    with pytest.raises(UserError, match="nothing to optimize for called 'tiny'"):
        hqc.compile(MODEL, output=tmp_path / "build", optimize="tiny")
    assert not (tmp_path / "build").exists()
