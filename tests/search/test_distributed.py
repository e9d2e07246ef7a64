"""Two gloo processes under torchrun give the search that one process gives.

The network computes in double precision. In single precision a rounding error that moves one spike
makes another network of it, and which spikes those are depends on the processor.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner

from hqc.cli import cli
from tests.conftest import NMNIST

NETWORK = """
from hqc.models.spikformer import Spikformer


class InDouble(Spikformer):
    def forward(self, frames):
        return super().forward(frames.double())


def small():
    return InDouble(dim=16, heads=2).double()
"""

PROGRAM = "from hqc.cli import main; main()"

ROUNDING = 1e-6
"""What losses and choices' logits, single precision in any network, may differ by: 16 times its
rounding error. Weights, in double precision, take only the losses' gradients from there."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    (folder / "network.py").write_text(NETWORK)
    (folder / "hqc_main.py").write_text(PROGRAM)
    for split in ("Train", "Test"):
        for digit in range(10):
            place = folder / "data" / split / str(digit)
            place.mkdir(parents=True)
            for file in sorted((NMNIST / "sample" / str(digit)).glob("*.bin"))[:2]:
                (place / file.name).symlink_to(file)
    arguments = [
        "search",
        "--model",
        f"{folder}/network.py:small",
        "--data",
        f"nmnist:{folder}/data",
    ]
    arguments += ["--time-steps", "2", "--batch", "4", "--keep", "head=8u"]
    for stage, epochs in (("float", 1), ("search", 2), ("train", 1)):
        arguments += [f"--{stage}-epochs", str(epochs)]
    CliRunner().invoke(cli, [*arguments, "-o", f"{folder}/one"], catch_exceptions=False)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, folder / "hqc_main.py", *arguments, "-o", f"{folder}/two"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def metrics(runs):
    texts = [(runs / name / "metrics.jsonl").read_text() for name in ("one", "two")]
    both = [[json.loads(line) for line in text.splitlines()] for text in texts]
    return list(zip(*both, strict=True))


def test_both_learn_the_same(runs, metrics):
    for one, two in metrics:
        assert (one["stage"], one["epoch"]) == (two["stage"], two["epoch"])
        for name in {"loss", "choice_loss", "energy", "storage"} & set(one):
            assert two[name] == pytest.approx(one[name], rel=ROUNDING), (one["stage"], name)
    for stage in ("float", "train"):
        first, second = (
            torch.load(runs / name / f"{stage}.pt", weights_only=True) for name in ("one", "two")
        )
        assert first.keys() == second.keys()
        for name, value in first.items():
            torch.testing.assert_close(second[name], value, rtol=ROUNDING, atol=ROUNDING, msg=name)


def test_both_choose_the_same(runs, metrics):
    """A layer's choice is compared where rounding cannot decide it, which is nearly everywhere."""
    one, two = (json.loads((runs / name / "recipe.json").read_text()) for name in ("one", "two"))
    found, other = metrics[-2]
    assert found["stage"] == "search"
    clear = 0
    for layer, shares in found["probabilities"].items():
        assert other["probabilities"][layer] == pytest.approx(shares, abs=ROUNDING), layer
        first, *rest = sorted(shares.values(), reverse=True)
        if not rest or first - rest[0] > 2 * ROUNDING:
            assert one[layer] == two[layer] == max(shares, key=shares.get), layer
            clear += len(rest) > 0
    assert one.keys() == two.keys() == found["probabilities"].keys()
    assert clear > len(one) / 2
    assert len(set(one.values())) > 2
