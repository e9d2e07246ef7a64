"""Two gloo processes under torchrun give the search that one process gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import NMNIST, ROOT

ARGUMENTS = [
    "search", "--model", "net.py:small", "--data", "nmnist:data", "--time-steps", "2",
    "--float-epochs", "1", "--search-epochs", "1", "--train-epochs", "1", "--batch", "10",
    "--keep", "head=8u",
]  # fmt: skip

NETWORK = """
from hqc.models.spikformer import Spikformer

def small():
    return Spikformer(dim=16, heads=2)
"""


def run(folder: Path, launcher: list[str], output: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    program = "from hqc.cli import main; main()"
    arguments = [*ARGUMENTS, "-o", output]
    (folder / "hqc_main.py").write_text(program)
    done = subprocess.run(
        [sys.executable, *launcher, "hqc_main.py", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    (folder / "net.py").write_text(NETWORK)
    for split in ("Train", "Test"):
        for digit in range(10):
            place = folder / "data" / split / str(digit)
            place.mkdir(parents=True)
            for file in sorted((NMNIST / "sample" / str(digit)).glob("*.bin"))[:2]:
                (place / file.name).symlink_to(file)
    run(folder, [], "one")
    run(folder, ["-m", "torch.distributed.run", "--nproc-per-node", "2"], "two")
    return folder


def test_both_learn_the_same(runs):
    metrics = [
        [json.loads(line) for line in (runs / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    for one, two in zip(*metrics, strict=True):
        assert (one["stage"], one["epoch"]) == (two["stage"], two["epoch"])
        assert two["loss"] == pytest.approx(one["loss"], rel=0.02)
    first, second = (torch.load(runs / n / "float.pt", weights_only=True) for n in ("one", "two"))
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0.02, atol=2e-3, msg=name)


def test_both_choose_the_same(runs):
    recipes = [json.loads((runs / name / "recipe.json").read_text()) for name in ("one", "two")]
    assert recipes[0] == recipes[1]
