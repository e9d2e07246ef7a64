"""The other datasets, on small files in their real formats."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from hqc.data.augment import mirrored
from hqc.data.neuromorphic import read_camera_events
from hqc.data.recordings import read_recordings
from hqc.data.task import load_task
from hqc.errors import UserError


def cifar_batch(path, labels, rng):
    images = rng.integers(0, 256, (len(labels), 3, 32, 32), dtype=np.uint8)
    rows = np.concatenate([np.uint8(labels)[:, None], images.reshape(len(labels), -1)], 1)
    path.write_bytes(rows.tobytes())
    return images


def test_cifar10_binary_version(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    first = cifar_batch(folder / "data_batch_1.bin", [3, 9], rng)
    cifar_batch(folder / "data_batch_2.bin", [0], rng)
    cifar_batch(folder / "test_batch.bin", [5], rng)
    task = load_task(f"cifar10:{tmp_path}", time_steps=2)
    frames, labels = task.train
    assert frames.shape == (3, 2, 3, 32, 32)
    assert labels.tolist() == [3, 9, 0]
    np.testing.assert_array_equal(frames[0, 1], first[0])
    varied = task.vary(frames.float().transpose(0, 1), torch.Generator().manual_seed(0))
    assert varied.shape == (2, 3, 3, 32, 32)
    assert torch.equal(varied[0], varied[1])
    (folder / "test_batch.bin").write_bytes(b"short")
    with pytest.raises(UserError, match="no whole 3073-byte images"):
        load_task(f"cifar10:{tmp_path}")


def test_mirroring_turns_some_recordings():
    frames = torch.arange(2 * 8 * 3.0).reshape(1, 2 * 8, 1, 1, 3)
    turned = mirrored(frames, torch.Generator().manual_seed(0))
    same = (turned == frames).flatten(2).all(-1)[0]
    assert 0 < same.sum() < 16
    assert torch.equal(turned[0, ~same], frames[0, ~same].flip(-1))


def test_imagenet_folders_are_read_when_asked_for(tmp_path):
    for split, sizes in (("train", [(300, 260), (224, 224)]), ("val", [(40, 500)])):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            for i, size in enumerate(sizes):
                Image.new("RGB", size, (200, 10, i)).save(tmp_path / split / name / f"{i}.png")
    task = load_task(f"imagenet:{tmp_path}", time_steps=3)
    frames, labels = task.train
    assert len(frames) == 4
    assert labels.tolist() == [0, 0, 1, 1]
    batch = frames[torch.tensor([1, 2])]
    assert batch.shape == (2, 3, 3, 224, 224)
    assert batch[0, 0, :, 5, 5].tolist() == [200, 10, 1]
    assert task.test[0][0:1].shape == (1, 3, 3, 224, 224)
    found = read_recordings(tmp_path / "val", (3, 1, 3, 224, 224), task.preprocessing)
    assert [r.frames.shape for r in found] == [(3, 1, 3, 224, 224)] * 2
    (tmp_path / "val" / "cat" / "0.png").write_bytes(b"not an image")
    with pytest.raises(UserError, match=r"0\.png: it is no whole JPEG or PNG image"):
        task.test[0][0:1]


def aedat2(path, events):
    """DVS128 events as jAER writes them: a text header, then address and time, big endian."""
    address = [(x << 8) | (y << 1) | p for x, y, _, p in events]
    data = np.array(list(zip(address, [e[2] for e in events], strict=True)), ">u4")
    path.write_bytes(b"#!AER-DAT2.0\r\n# a comment\r\n" + data.tobytes())


EVENTS = [(5, 7, 1000, 1), (127, 0, 2000, 0), (5, 7, 9000, 1)]


def test_cifar10dvs_splits_each_class(tmp_path):
    for name in ("airplane", "truck"):
        (tmp_path / name).mkdir()
        for i in range(10):
            aedat2(tmp_path / name / f"cifar10_{name}_{i}.aedat", EVENTS)
    task = load_task(f"cifar10dvs:{tmp_path}")
    assert len(task.train[0]) == 18
    assert task.test[1].tolist() == [0, 1]
    frames = task.train[0][0:2]
    assert frames.shape == (2, 16, 2, 128, 128)
    assert frames.sum() == 6
    assert frames[0, 0, 1, 7, 5] == frames[0, 15, 1, 7, 5] == frames[0, 1, 0, 0, 127] == 1


def test_dvs_gesture_as_tonic_unpacks_it(tmp_path):
    for split in ("ibmGestureTrain", "ibmGestureTest"):
        user = tmp_path / split / "user01_led"
        user.mkdir(parents=True)
        for label in (0, 10):
            rows = [(x, y, p, t / 1000) for x, y, t, p in EVENTS]
            np.save(user / f"{label}.npy", np.array(rows))
    task = load_task(f"dvsgesture:{tmp_path}", time_steps=4)
    assert task.train[1].tolist() == [0, 10]
    assert task.train[0][0:1].sum((0, 2, 3, 4)).tolist() == [2, 0, 0, 1]


def test_ncaltech101_moves_events_to_the_origin(tmp_path):
    place = tmp_path / "Caltech101" / "accordion"
    place.mkdir(parents=True)
    for i in range(2):
        raw = [[20 + x, 30 + y, p << 7 | t >> 16, t >> 8 & 255, t & 255] for x, y, t, p in EVENTS]
        (place / f"image_{i:04}.bin").write_bytes(bytes(np.array(raw, np.uint8)))
    task = load_task(f"ncaltech101:{tmp_path}", time_steps=2)
    frames = task.train[0][0:1]
    assert frames.shape == (1, 2, 2, 180, 240)
    assert frames[0, 0, 1, 7, 0] == 1
    assert frames[0, 0, 0, 0, 122] == 1


def test_images_are_normalized_and_one_frame_is_repeated(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, 8, 8), dtype=np.uint8)
    Image.fromarray(pixels.transpose(1, 2, 0)).save(tmp_path / "image.png")
    sizes = {"kind": "image", "time_steps": 4, "height": 8, "width": 8}
    mean, std = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.3, 0.25])
    normalization = {"mean": mean.tolist(), "std": std.tolist()}
    (found,) = read_recordings(tmp_path, (4, 1, 3, 8, 8), sizes | normalization)
    normalized = (pixels / 255 - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(found.frames, np.broadcast_to(normalized, (4, 1, 3, 8, 8)), 1e-6)
    np.save(tmp_path / "image.npy", normalized[None])
    repeated, _ = read_recordings(tmp_path, (4, 1, 3, 8, 8), sizes | normalization)
    np.testing.assert_array_equal(repeated.frames, found.frames)


@pytest.mark.parametrize("name", ["cifar10", "imagenet", "cifar10dvs", "dvsgesture", "ncaltech101"])
def test_an_empty_folder_is_refused(name, tmp_path):
    with pytest.raises(UserError, match="holds no"):
        load_task(f"{name}:{tmp_path}")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.aedat", b"no header", "cannot read"),
        ("a.aedat", b"#!AER-DAT3.1\r\n" + bytes(40), "AEDAT 3.1, not 2.0"),
        ("a.npy", b"nothing", "cannot read"),
        ("a.bin", b"1234567", "whole number of 5-byte events"),
    ],
)
def test_damaged_recordings_are_refused(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_camera_events(tmp_path / name)
