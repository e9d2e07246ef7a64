"""The training script runs from recordings to two ONNX files that compile or say why not."""

from __future__ import annotations

import subprocess
import sys

import hqc
from tests.conftest import NMNIST, ROOT


def test_one_epoch_of_each_kind_gives_models(tmp_path):
    for split in ("Train", "Test"):
        (tmp_path / split).symlink_to(NMNIST / "sample")
    options = ["--data", tmp_path, "--output", tmp_path, "--checkpoints", tmp_path / "runs"]
    options += ["--epochs", "1", "--quantized-epochs", "1"]
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "nmnist" / "train.py", *options],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "at 3.57 bits a weight on average" in done.stdout
    artifact = hqc.compile(tmp_path / "model.onnx", "host", tmp_path / "build")
    assert artifact.manifest["average_bits"] < 3.7
    assert (tmp_path / "fp32.onnx").exists()
