"""examples/rp2040 builds within an RP2040's memory, and answers over a serial line.

The Pico SDK is stood in for by `pico_sdk`: a board with a Cortex-M that QEMU emulates.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import tty
from contextlib import contextmanager

import pytest

import hqc
from hqc.data.events import events_to_frames, read_events
from tests.conftest import MODEL, NMNIST, ROOT

EXAMPLE = ROOT / "examples" / "rp2040"
STAND_IN = ROOT / "tests" / "guides" / "pico_sdk"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return hqc.compile(MODEL, "cortex-m0plus", tmp_path_factory.mktemp("m0plus") / "build")


@pytest.fixture(scope="module")
def build(artifact, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rp2040")
    configure = ["cmake", "-S", EXAMPLE, "-B", folder, f"-DCMAKE_PREFIX_PATH={artifact.folder}"]
    environment = {**os.environ, "PICO_SDK_PATH": str(STAND_IN)}
    subprocess.run(configure, check=True, capture_output=True, env=environment)
    done = subprocess.run(
        ["cmake", "--build", folder], check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert "warning" not in done.stdout.decode()
    return folder


@contextmanager
def board(program):
    """The emulated board; the name of its serial line."""
    machine = ["qemu-system-arm", "-M", "mps2-an385", "-display", "none", "-monitor", "none"]
    with subprocess.Popen(
        [*machine, "-serial", "pty", "-kernel", program], stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            yield re.search(r"/dev/pts/\d+", running.stdout.readline())[0]
        finally:
            running.kill()


def sent(port, *files):
    done = subprocess.run(
        [sys.executable, EXAMPLE / "send.py", port, *files],
        check=True, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return done.stdout.splitlines()


def sent_as_it_is(port, content):
    with open(port, "r+b", buffering=0) as line:
        tty.setraw(line)
        line.write(content)
        answer = b""
        while not answer.endswith(b"\n"):
            answer += line.read(1)
    return answer.decode().strip()


def test_the_board_answers_recordings_as_the_host_does(build, host_artifact):
    files = sorted((NMNIST / "sample").glob("*/*.bin"))[5::50]
    with board(build / "classify") as port:
        lines = sent(port, *files)
    answers = [re.fullmatch(r"(.*): (\d) in \d+ us", line) for line in lines]
    assert [found[1] for found in answers] == [str(file) for file in files]
    for file, found in zip(files, answers, strict=True):
        frames = events_to_frames(read_events(file), 8, 34, 34)[:, None]
        assert int(found[2]) == host_artifact.run(frames).argmax()


def test_the_board_says_what_is_wrong_and_goes_on(build, tmp_path):
    good = min((NMNIST / "sample").glob("*/*.bin"), key=lambda file: file.stat().st_size)
    wrong = {
        "empty": (b"", "the recording has no events"),
        "large": (bytes(5 * 8193), "the recording has too many events"),
        "outside": (
            bytes([34, 0, 0, 0, 0]),
            "an event lies outside the model's sensor, or beyond 32 bits of time",
        ),
    }
    for name, (content, _) in wrong.items():
        (tmp_path / name).write_bytes(content)
    with board(build / "classify") as port:
        cut = sent_as_it_is(port, struct.pack("<I", 2) + bytes(7))
        lines = sent(port, *(tmp_path / name for name in wrong), good)
    assert cut == "error: the recording was cut short"
    said = [line.partition(": ")[2] for line in lines]
    assert said[:-1] == [f"error: {text}" for _, text in wrong.values()]
    assert re.fullmatch(r"\d in \d+ us", said[-1])


def test_send_refuses_what_is_no_recording(tmp_path):
    (tmp_path / "file").write_bytes(bytes(7))
    ours, theirs = os.openpty()
    try:
        done = subprocess.run(
            [sys.executable, EXAMPLE / "send.py", os.ttyname(theirs), tmp_path / "file"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 1
    assert done.stderr.strip() == "7 bytes are not a whole number of 5-byte events"


def test_the_guide_says_what_the_memory_goes_to(build, artifact):
    guide = (ROOT / "docs" / "guides" / "rp2040.md").read_text()
    memory = artifact.manifest["memory"]
    for said in (
        "code_bytes",
        "constant_bytes",
        "arena_bytes",
        "stream_arena_bytes",
        "stack_bytes",
    ):
        assert f"{memory[said]:,}" in guide, said
    stack = int(
        re.search(r"PICO_STACK_SIZE=(0x\w+)", (EXAMPLE / "CMakeLists.txt").read_text())[1], 16
    )
    assert stack >= memory["stack_bytes"] + 1024
