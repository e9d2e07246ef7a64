"""The wheel: installs into a fresh environment, runs there as here, is loaded on the boards."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from packaging.tags import sys_tags
from packaging.utils import parse_wheel_filename

from hqc.packaging import package
from hqc.packaging.python import _tag
from hqc.targets import load_target
from hqc.version import VERSION
from tests.packaging.ways import done, frames_for

PROGRAM = """
import json, sys
import numpy as np
import nmnist
frames, codes = np.load("frames.npy"), np.load("codes.npy")
model, other = nmnist.Model(), nmnist.Model()
logits, integers = model.run(frames), other.run_bytes(codes)
label = other.label()
assert model.classify(frames) == label == logits.argmax()
assert np.array_equal((integers * nmnist.LOGIT_SCALE).astype(np.float32), logits)
model.reset(), other.reset()
for frame, code in zip(frames, codes):
    model.step(frame), other.step_bytes(code)
assert np.array_equal(model.read(), logits)
assert np.array_equal(other.read_integers(), integers)
events = np.zeros(int(codes[:1].sum()), model.EVENT)
where = np.repeat(np.argwhere(codes[0, 0]), codes[0, 0][codes[0, 0] > 0], axis=0)
events["polarity"], events["y"], events["x"] = where.T
model.reset(), other.reset()
model.step_events(events[::-1]), other.step_bytes(codes[0])
assert np.array_equal(model.read_integers(), other.read_integers())
assert model.run_events(events).shape == nmnist.OUTPUT_SHAPE
assert not hasattr(model, "run_image")
outside = events[:1].astype([("time", "i8"), ("x", "i8"), ("y", "i8"), ("polarity", "i8")])
def refused(call, *arguments):
    try:
        call(*arguments)
    except (ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
said = [
    refused(model.run, frames[1:]), refused(model.run, frames * np.nan),
    refused(model.run, frames.astype("U")), refused(model.step, frames[0, 0]),
    refused(model.run_bytes, codes.astype(int) - 1), refused(model.run_events, codes[0, 0, 0, 0]),
]
outside["x"] = 34
said.append(refused(model.run_events, outside))
outside["x"] = 1 << 16
said.append(refused(model.run_events, outside))
said.append(refused(nmnist.Model().label))
said.append(refused(model.step, frames[0]))
json.dump({"logits": logits.tolist(), "said": said, "file": nmnist.__file__,
           "modules": [m for m in sys.modules if m.split(".")[0] == "hqc"]}, sys.stdout)
"""


def wheel_of(artifact, folder):
    package(artifact, "python", folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_a_fresh_environment_runs_the_hosts_wheel_without_hqc(host_artifact, tmp_path):
    wheel = wheel_of(host_artifact, tmp_path / "wheels")
    done(sys.executable, "-m", "venv", "--without-pip", "fresh", cwd=tmp_path)
    python = tmp_path / "fresh" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    done(*pip, "install", "--no-index", "--no-deps", wheel, cwd=tmp_path)
    codes, frames = frames_for(host_artifact)
    np.save(tmp_path / "frames.npy", frames)
    np.save(tmp_path / "codes.npy", codes)
    (tmp_path / "libraries").mkdir()
    for library in Path(np.__file__).parents[1].glob("numpy*"):
        (tmp_path / "libraries" / library.name).symlink_to(library)
    environment = {"PYTHONPATH": str(tmp_path / "libraries"), "PATH": "/usr/bin:/bin"}
    found = json.loads(done(python, "-c", PROGRAM, cwd=tmp_path, env=environment))
    np.testing.assert_array_equal(np.array(found["logits"], np.float32), host_artifact.run(frames))
    assert found["modules"] == []
    assert str(tmp_path / "fresh") in found["file"]
    not_ready = "call init first, reset before the first step, and run or read before classify"
    assert found["said"] == [
        "ValueError: frames [7, 1, 2, 34, 34] of float32 are not [8, 1, 2, 34, 34] numbers",
        "ValueError: frames are not finite, or too large for float32",
        "ValueError: frames [8, 1, 2, 34, 34] of <U32 are not [8, 1, 2, 34, 34] numbers",
        "ValueError: frames [2, 34, 34] of float32 are not [1, 2, 34, 34] numbers",
        "ValueError: codes are not from 0 to 255",
        "ValueError: events are not an array of time, x, y, polarity",
        "RuntimeError: an event lies outside the model's sensor, or beyond 32 bits of time",
        "ValueError: events have a x that is no uint16",
        f"RuntimeError: {not_ready}",
        f"RuntimeError: {not_ready}",
    ]
    listed = done(*pip, "show", "--files", "nmnist", cwd=tmp_path)
    assert "Version: " + VERSION in listed
    assert "nmnist/nmnist.so" in listed


IMAGE = """
import numpy as np
import pictures
model, rng = pictures.Model(), np.random.default_rng(0)
codes = rng.integers(0, 256, pictures.INPUT_SHAPE[1:], np.uint8)
image, steps = codes * np.float32(model.INPUT_SCALE), pictures.INPUT_SHAPE[0]
assert np.array_equal(model.run_image(image), model.run(np.stack([image] * steps)))
assert np.array_equal(model.run_image_bytes(codes), model.run_bytes(np.stack([codes] * steps)))
for call, given in (model.run_image, image[0]), (model.run_image_bytes, codes.astype(int) + 256):
    try:
        call(given)
    except ValueError as error:
        print(error)
assert not hasattr(model, "run_events")
"""


def test_an_image_is_run_as_its_copies(pictures, tmp_path):
    with zipfile.ZipFile(wheel_of(pictures, tmp_path / "wheels")) as archive:
        archive.extractall(tmp_path / "installed")
    said = done(sys.executable, "-c", IMAGE, cwd=tmp_path / "installed")
    assert said.splitlines() == [
        "frames [2, 5, 6] of float32 are not [1, 2, 5, 6] numbers",
        "codes are not from 0 to 255",
    ]


def test_record_and_tags_are_those_of_the_files(host_artifact, tmp_path):
    wheel = wheel_of(host_artifact, tmp_path / "wheels")
    name, version, _, tags = parse_wheel_filename(wheel.name)
    assert (name, str(version)) == ("nmnist", VERSION)
    assert tags & set(sys_tags())
    info = f"nmnist-{VERSION}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        record = list(csv.reader(archive.read(f"{info}/RECORD").decode().splitlines()))
        said = {path: (digest, size) for path, digest, size in record}
        assert set(said) == set(archive.namelist())
        assert said.pop(f"{info}/RECORD") == ("", "")
        for path, (digest, size) in said.items():
            content = archive.read(path)
            hashed = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
            assert (digest, int(size)) == (f"sha256={hashed.rstrip('=')}", len(content))
        assert f"Tag: {next(iter(tags))}\n" in archive.read(f"{info}/WHEEL").decode()


def test_wheels_of_one_artifact_are_equal(tiny, tmp_path):
    first, second = (wheel_of(tiny("host"), tmp_path / str(i)) for i in range(2))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("target", "tag"),
    [
        ("armv8-a", "manylinux_2_17_aarch64.manylinux2014_aarch64"),
        ("arm-a72", "linux_aarch64"),
        ("armv7-a7", "linux_armv7l"),
        ("rv64gc", "manylinux_2_31_riscv64"),
        ("rv64gcv", "linux_riscv64"),
        ("host", f"{sys.platform}_{platform.machine()}"),
        ("cortex-m4", None),
    ],
)
def test_only_code_for_every_machine_of_a_kind_is_said_to_run_on_all(target, tag):
    assert _tag(load_target(target)) == tag


LOADER = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include "nmnist.h"
static float frames[NMNIST_INPUT_SIZE], logits[NMNIST_OUTPUT_SIZE];
HQC_ALIGNED static uint8_t arena[NMNIST_ARENA_BYTES];
int main(int argc, char **argv)
{
    nmnist_t model;
    hqc_status (*init)(nmnist_t *, void *, size_t);
    hqc_status (*run)(nmnist_t *, const float *, float *);
    void *library = argc == 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
    if (library == NULL) return puts(dlerror()), 1;
    *(void **)&init = dlsym(library, "nmnist_init");
    *(void **)&run = dlsym(library, "nmnist_run");
    if (fread(frames, sizeof frames, 1, stdin) != 1) return 2;
    if (init(&model, arena, sizeof arena) || run(&model, frames, logits)) return 3;
    return fwrite(logits, sizeof logits, 1, stdout) != 1;
}
"""


def test_a_program_of_glibc_loads_the_boards_library(arm_artifact, host_artifact, tmp_path):
    with zipfile.ZipFile(wheel_of(arm_artifact, tmp_path / "wheels")) as archive:
        archive.extractall(tmp_path)
    (tmp_path / "loader.c").write_text(LOADER)
    flags = (f"-I{arm_artifact.folder}", "-o", "loader", "-ldl")
    done("aarch64-linux-gnu-gcc", "loader.c", *flags, cwd=tmp_path)
    _, frames = frames_for(host_artifact)
    emulator = ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu")
    result = subprocess.run(
        [*emulator, tmp_path / "loader", tmp_path / "nmnist" / "nmnist.so"],
        input=frames.tobytes(), stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    logits = np.frombuffer(result.stdout, np.float32)
    np.testing.assert_array_equal(logits, host_artifact.run(frames).reshape(-1))


@pytest.mark.parametrize(
    ("target", "machine"), [("arm-a72", 183), ("armv7-a7", 40), ("rv64gc", 243)]
)
def test_the_library_needs_no_other(tiny, tmp_path, target, machine):
    wheel = wheel_of(tiny(target), tmp_path / "wheels")
    with zipfile.ZipFile(wheel) as archive:
        library = archive.extract("tiny/tiny.so", tmp_path)
    header = Path(library).read_bytes()[:20]
    assert header[:4] == b"\x7fELF"
    assert int.from_bytes(header[16:18], "little") == 3  # a shared object
    assert int.from_bytes(header[18:20], "little") == machine
    assert "NEEDED" not in done("readelf", "--dynamic", library, cwd=tmp_path)
    undefined = {s.split()[-1] for s in done("nm", "-D", "-u", library, cwd=tmp_path).splitlines()}
    assert undefined <= {"memcpy", "memset"}
