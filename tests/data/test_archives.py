"""Recordings in .npz files: what they are called, read as they are asked for, and refused."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from hqc.data import archives
from hqc.data.archives import FRAMES, LABELS, read_archive
from hqc.data.recordings import Frames, Recordings, read_recordings
from hqc.errors import UserError
from tests.conftest import MODEL, NMNIST

SHAPE = (8, 1, 2, 34, 34)


@pytest.fixture
def counts(rng):
    return rng.poisson(0.3, (5, 8, 2, 34, 34)).astype(np.uint8)


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("labels", LABELS)
def test_the_usual_names_are_known(name, labels, counts, tmp_path):
    np.savez_compressed(tmp_path / "a.npz", **{name: counts, labels: [4, 3, 2, 1, 0]})
    found = Recordings(tmp_path / "a.npz", SHAPE, None)
    assert found.labels == [4, 3, 2, 1, 0]
    assert [r.name for r in found] == [f"{tmp_path / 'a.npz'}[{i}]" for i in range(5)]
    for one, frames in zip(found, counts, strict=True):
        assert one.frames.dtype == np.float32
        np.testing.assert_array_equal(one.frames[:, 0], frames)
    assert found[1].label == 3


def test_bytes_stay_bytes_and_images_are_repeated(counts, tmp_path):
    np.savez(tmp_path / "a.npz", images=counts[:, 0])
    assert read_archive(tmp_path / "a.npz").frames.dtype == np.uint8
    (first, *_) = found = Recordings(tmp_path / "a.npz", SHAPE, None)
    assert found.labels == [None] * 5
    np.testing.assert_array_equal(first.frames, np.stack([counts[0, 0][None]] * 8))


def test_files_and_archives_of_a_folder_are_read_when_asked_for(counts, tmp_path):
    (tmp_path / "7").mkdir()
    np.save(tmp_path / "7" / "a.npy", counts[0])
    np.savez(tmp_path / "b.npz", x=counts, y=np.arange(5))
    np.save(tmp_path / "c.npy", counts[0, :1])
    found = Recordings(tmp_path, SHAPE, None)
    assert found.labels == [7, 0, 1, 2, 3, 4, None]
    assert len(Frames(found)) == 7
    np.testing.assert_array_equal(Frames(found)[3], found[3].frames)
    assert [r.label for r in found[1:3]] == [0, 1]
    spread = read_recordings(tmp_path, SHAPE, None, limit=3)
    assert [r.label for r in spread] == [7, 1, 3]
    (tmp_path / "c.npy").write_bytes(b"no array")
    assert len(found) == 7
    with pytest.raises(UserError, match=r"c\.npy"):
        found[6]


def test_every_verb_takes_them(counts, run_hqc, tmp_path):
    np.savez(tmp_path / "a.npz", x=counts, y=[0, 1, 2, 3, 4])
    done = run_hqc("run", MODEL, "a.npz", "--json")
    results = json.loads(done.stdout)["results"]
    assert [r["label"] for r in results] == [0, 1, 2, 3, 4]
    assert [r["recording"] for r in results] == [f"a.npz[{i}]" for i in range(5)]
    assert run_hqc("energy", NMNIST / "fp32.onnx", "--data", "a.npz").returncode == 0


def pickled(path):
    np.savez(path, x=np.array([{"a": 1}], object))


def claims(path):
    """A header that says of a few bytes that they are a tera."""
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776,), }"
    header += b" " * (118 - len(header) - 1) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00\x76\x00" + header + bytes(100))


def long_header(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100))


def saved(**arrays):
    return lambda path: np.savez(path, **arrays)


NO_ARCHIVE = "it is not a whole .npz file of numbers"
FOUR = np.zeros((4, 8, 2, 34, 34), np.uint8)
CASES = {
    "empty": (lambda p: p.write_bytes(b""), NO_ARCHIVE),
    "text": (lambda p: p.write_text("1, 2, 3\n"), NO_ARCHIVE),
    "pickle": (pickled, NO_ARCHIVE),
    "claims": (claims, NO_ARCHIVE),
    "header": (long_header, NO_ARCHIVE),
    "others": (saved(a=FOUR, b=FOUR), "holds a, b, and none of x, images, data, arr_0"),
    "nothing": (saved(), "holds no arrays, and none of x"),
    "number": (saved(x=np.uint8(1)), "its recordings are a single number"),
    "few labels": (saved(x=FOUR, y=[1, 2]), "labels 'y' [2] of int64 are not one whole number"),
    "one-hot": (saved(x=FOUR, y=np.eye(4)), "labels 'y' [4, 4] of float64 are not one whole"),
    "none": (saved(x=FOUR[:0]), "holds no .bin, .npy, .npz or image recordings"),
    "shape": (saved(x=FOUR[:, :3]), "a.npz[0]: frames [3, 2, 34, 34] of uint8 are not"),
    "nan": (saved(x=FOUR * np.nan), "[0]: frames are not finite"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_no_archive_is_refused_in_one_message(name, tmp_path):
    make, message = CASES[name]
    path = tmp_path / "a.npz"
    make(path)
    with pytest.raises(UserError) as error:
        read_recordings(path, SHAPE, None)
    assert message in error.value.message
    assert error.value.message.count(str(path)) == 1


def test_too_many_bytes_are_refused(counts, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_LARGEST", 1000)
    np.savez_compressed(tmp_path / "a.npz", x=counts)
    with pytest.raises(UserError, match="'x' takes 92,608 bytes, and may take 1,000"):
        read_archive(tmp_path / "a.npz")
