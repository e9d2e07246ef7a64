"""The N-MNIST loader, on recordings in the real format."""

from __future__ import annotations

import pytest
import torch

from hqc.data.augment import shifted
from hqc.data.task import load_task
from hqc.errors import UserError
from tests.conftest import NMNIST


def test_recordings_become_frames_and_classes(tmp_path):
    for split in ("Train", "Test"):
        (tmp_path / split).symlink_to(NMNIST / "sample")
    task = load_task(f"nmnist:{tmp_path}")
    frames, classes = task.train
    assert frames.shape == (100, 8, 2, 34, 34)
    assert frames.dtype == torch.uint8
    assert classes.bincount().sum() == 100
    assert task.preprocessing["kind"] == "events"


def test_variation_moves_whole_recordings():
    frames = torch.zeros(2, 5, 2, 34, 34)
    frames[:, :, :, 17, 17] = 1
    moved = shifted(frames, torch.Generator().manual_seed(0), 3)
    assert moved.shape == frames.shape
    places = moved.flatten(3).argmax(-1)
    assert (places == places[:1, :, :1]).all()
    assert len(places[0, :, 0].unique()) > 1
    assert (moved.sum((3, 4)) == 1).all()


@pytest.mark.parametrize("text", ["nmnist", "nmnist:", ":x", "mnist:x"])
def test_texts_that_name_no_dataset(text):
    with pytest.raises(UserError, match="names no dataset"):
        load_task(text)
