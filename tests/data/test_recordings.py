"""Recordings that are none, or too much: one message, little memory, no waiting."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest

from hqc.data.recordings import (
    PREPROCESSING,
    class_names,
    preprocessing_of,
    read_recording,
    read_recordings,
)
from hqc.errors import UserError
from tests.conftest import MODEL, NMNIST

SHAPE = (8, 1, 2, 34, 34)
EVENTS = {"kind": "events", "time_steps": 8, "height": 34, "width": 34}
IMAGES = {**EVENTS, "kind": "image"}


def npy(shape="(8, 1, 2, 34, 34)", descr="'<f4'", data=b"", version=1):
    """The bytes of a .npy file that says of itself what it likes."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    size = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + size + header + data


def png(width, height, rows=b""):
    """A PNG whose header says its size, and whose rows are those."""

    def chunk(name, data):
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def sparse(path, size, start=b""):
    with open(path, "wb") as file:
        file.write(start)
        file.truncate(size)


def zipped(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("frames.npy", npy())


def saved(array):
    return lambda path: np.save(path, array)


NO_ARRAY = "it is not a whole .npy file of numbers"
NO_IMAGE = "it is no whole JPEG or PNG image"
CASES = {
    "empty.npy": (lambda p: p.write_bytes(b""), NO_ARRAY),
    "text.npy": (lambda p: p.write_text("1, 2, 3\n"), NO_ARRAY),
    "cut.npy": (lambda p: p.write_bytes(npy(data=bytes(100))), NO_ARRAY),
    "header.npy": (lambda p: p.write_bytes(npy()[:40]), NO_ARRAY),
    "zip.npy": (zipped, NO_ARRAY),
    "claims.npy": (lambda p: p.write_bytes(npy(shape="(2**40,)", data=bytes(64))), NO_ARRAY),
    "tera.npy": (lambda p: p.write_bytes(npy(shape="(1099511627776,)")), NO_ARRAY),
    "huge.npy": (lambda p: p.write_bytes(npy(shape=f"({2**80},)")), NO_ARRAY),
    "negative.npy": (lambda p: p.write_bytes(npy(shape="(-8, 2)", data=bytes(640))), NO_ARRAY),
    "nested.npy": (lambda p: p.write_bytes(npy(shape="(" * 3000)), NO_ARRAY),
    "pickle.npy": (saved(np.array([{"a": 1}], object)), NO_ARRAY),
    "long-header.npy": (
        lambda p: sparse(p, 5 << 30, b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1)),
        NO_ARRAY,
    ),
    "really-tera.npy": (
        lambda p: sparse(p, 2 << 40, npy(shape=f"({2**38},)")),
        "are not [8, 1, 2, 34, 34] numbers",
    ),
    "turned.npy": (saved(np.zeros(SHAPE, np.float32).T), r"[34, 34, 2, 1, 8] of float32 are not"),
    "last.npy": (saved(np.zeros((8, 34, 34, 2))), r"[8, 34, 34, 2] of float64 are not"),
    "flat.npy": (saved(np.zeros(8 * 2 * 34 * 34)), "[18496] of float64 are not"),
    "four.npy": (saved(np.zeros((4, 1, 2, 34, 34))), "[4, 1, 2, 34, 34] of float64 are not"),
    "none.npy": (saved(np.zeros((8, 0, 2, 34, 34))), "[8, 0, 2, 34, 34] of float64 are not"),
    "scalar.npy": (saved(np.float32(3)), "[] of float32 are not"),
    "nan.npy": (saved(np.full(SHAPE, np.nan)), "not finite"),
    "large.npy": (saved(np.full(SHAPE, 1e300)), "too large for float32"),
    "complex.npy": (saved(np.zeros(SHAPE, complex)), "complex128 are not real numbers"),
    "fields.npy": (saved(np.zeros(SHAPE, "f4,f4")), "are not real numbers"),
    "big.bin": (lambda p: sparse(p, 2 << 30), "it has 2,147,483,648 bytes, and may have"),
    "cut.bin": (lambda p: p.write_bytes(b"123456"), "6 bytes is not a whole number of 5-byte"),
    "zero.bin": (lambda p: os.symlink("/dev/zero", p), "it is a device, not a file"),
    "zero.npy": (lambda p: os.symlink("/dev/zero", p), "it is a device, not a file"),
    "zero.png": (lambda p: os.symlink("/dev/zero", p), "it is a device, not a file"),
    "pipe.bin": (os.mkfifo, "it is a pipe, not a file"),
    "pipe.npy": (os.mkfifo, "it is a pipe, not a file"),
    "pipe.png": (os.mkfifo, "it is a pipe, not a file"),
    "gone.npy": (lambda p: os.symlink("nowhere", p), "No such file"),
    "empty.png": (lambda p: p.write_bytes(b""), NO_IMAGE),
    "cut.png": (lambda p: p.write_bytes(png(34, 34, os.urandom(35 * 34))[:-300]), NO_IMAGE),
    "bomb.png": (
        lambda p: p.write_bytes(png(60_000, 60_000, bytes(10_000))),
        "has more than 64,000,000 pixels",
    ),
    "wide.png": (lambda p: p.write_bytes(png(9000, 9000)), "has more than 64,000,000 pixels"),
    "script.png": (lambda p: p.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n"), NO_IMAGE),
    "big.png": (lambda p: sparse(p, 2 << 30, b"\x89PNG\r\n\x1a\n"), NO_IMAGE),
}


@pytest.fixture(params=CASES)
def case(request, tmp_path):
    make, message = CASES[request.param]
    path = tmp_path / request.param
    make(path)
    return path, message


def test_what_is_no_recording_is_refused_in_one_message(case):
    path, message = case
    with pytest.raises(UserError) as error:
        read_recording(path, SHAPE, IMAGES if path.suffix == ".png" else EVENTS)
    assert message in error.value.message
    assert error.value.message.count(str(path)) == 1


def test_little_memory_is_taken(tmp_path):
    """All cases in a process that may have no more than a gigabyte, Python and numpy included."""
    for name, (make, _) in CASES.items():
        make(tmp_path / name)
    program = f"""
import resource
from pathlib import Path
from hqc.data.recordings import read_recording
from hqc.errors import UserError
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
for path in sorted(Path({str(tmp_path)!r}).iterdir()):
    if path.name == "really-tera.npy":
        continue  # takes addresses, not memory
    try:
        read_recording(path, {SHAPE}, {IMAGES} if path.suffix == ".png" else {EVENTS})
    except UserError:
        print(path.name)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=100,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == CASES.keys() - {"really-tera.npy"}


@pytest.mark.parametrize(
    "verb", [["run", MODEL, "RECORDING"], ["energy", MODEL, "--data", "RECORDING"]]
)
@pytest.mark.parametrize("name", ["cut.npy", "pipe.bin", "zero.npy", "big.bin", "bomb.png"])
def test_the_command_line_refuses_them_too(verb, name, run_hqc_alone, tmp_path):
    CASES[name][0](tmp_path / name)
    words = [name if word == "RECORDING" else word for word in verb]
    done = run_hqc_alone(*words, timeout=100)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("hqc: error:") == 1
    assert name in done.stderr


@pytest.mark.parametrize(
    "shape",
    [SHAPE, (8, 2, 34, 34), (1, 8, 2, 34, 34), (2, 34, 34), (1, 2, 34, 34), (1, 1, 2, 34, 34)],
)
def test_axes_of_size_one_may_be_missing_and_one_frame_is_repeated(shape, tmp_path, rng):
    frames = rng.poisson(1.0, shape)
    for number, array in enumerate([frames.astype(np.uint8), np.asfortranarray(frames, "f8")]):
        path = tmp_path / f"{number}.npy"
        np.save(path, array)
        found = read_recording(path, SHAPE, None).frames
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
        if frames.size == np.prod(SHAPE):
            np.testing.assert_array_equal(found.reshape(shape), frames)
        else:
            np.testing.assert_array_equal(found, np.stack([frames.reshape(SHAPE[1:])] * 8))


def test_folders_called_like_recordings_are_not_read(tmp_path):
    (tmp_path / "run.npy").mkdir()
    np.save(tmp_path / "run.npy" / "x.NPY", np.zeros(SHAPE))
    os.rename(tmp_path / "run.npy" / "x.NPY.npy", tmp_path / "run.npy" / "x.NPY")
    (found,) = read_recordings(tmp_path, SHAPE, None)
    assert found.name.endswith("x.NPY")


@pytest.mark.parametrize(("folder", "label"), [("7", 7), ("²", None), ("9" * 30, None)])
def test_labels_are_plain_numbers(folder, label, tmp_path):
    (tmp_path / folder).mkdir()
    np.save(tmp_path / folder / "x.npy", np.zeros(SHAPE))
    assert read_recordings(tmp_path, SHAPE, None)[0].label == label


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "3", "null", '"events"', "{}", "[" * 100_000,
        '{"kind": "sound", "time_steps": 8, "height": 34, "width": 34}',
        '{"kind": [], "time_steps": 8, "height": 34, "width": 34}',
        '{"kind": "events", "time_steps": 8, "height": 34}',
        '{"kind": "events", "time_steps": 0, "height": 34, "width": 34}',
        '{"kind": "events", "time_steps": true, "height": 34, "width": 34}',
        '{"kind": "events", "time_steps": 8.0, "height": 34, "width": 34}',
        '{"kind": "image", "time_steps": 8, "height": 34, "width": 34, "std": [1, 0, 1]}',
        '{"kind": "image", "time_steps": 8, "height": 34, "width": 34, "mean": [1, 2]}',
        '{"kind": "image", "time_steps": 8, "height": 34, "width": 34, "mean": ["a", 1, 2]}',
        '{"kind": "image", "time_steps": 8, "height": 34, "width": 34, "mean": [NaN, 1, 2]}',
    ],
)  # fmt: skip
def test_metadata_that_says_nothing_is_refused(text):
    with pytest.raises(UserError, match="says nothing that hqc knows"):
        preprocessing_of({PREPROCESSING: text})


def test_preprocessing_to_other_sizes_than_the_models_is_refused():
    file = next((NMNIST / "sample").rglob("*.bin"))
    huge = preprocessing_of({PREPROCESSING: json.dumps({**EVENTS, "height": 10**12})})
    with pytest.raises(UserError, match=r"become \[8, 1000000000000, 34\] time steps.*\[8, 1, 2"):
        read_recording(file, SHAPE, huge)


def test_classes_have_as_many_names_as_there_are():
    said = preprocessing_of({PREPROCESSING: json.dumps({**EVENTS, "classes": ["cat", "dog"]})})
    assert class_names(said, 2) == ["cat", "dog"]
    assert class_names(None, 2) is class_names(EVENTS, 2) is None
    with pytest.raises(UserError, match="the model names 2 classes, and gives 3 logits"):
        class_names(said, 3)
