"""examples/dvs_stream says of windows of events what the compiled model says of their frames."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

from hqc.data.events import EVENT, read_events
from tests.conftest import NMNIST, ROOT

STEPS, SIZE = 8, 34
RECORDINGS = sorted((NMNIST / "sample").glob("*/*.bin"))
LINE = re.compile(r"recording (\d+) window (\d+) events (\d+) class (\d+) margin (\d+\.\d{6})")


def build(folder, artifact, *options):
    source = ["-S", ROOT / "examples" / "dvs_stream", "-B", folder]
    found = f"-DCMAKE_PREFIX_PATH={artifact.folder}"
    subprocess.run(["cmake", *source, found, *options], check=True, capture_output=True)
    subprocess.run(["cmake", "--build", folder], check=True, capture_output=True)
    return [folder / "dvs_stream"]


@pytest.fixture(scope="module")
def host(host_artifact, tmp_path_factory):
    return build(tmp_path_factory.mktemp("dvs"), host_artifact)


@pytest.fixture(scope="module")
def arm(arm_artifact, tmp_path_factory):
    toolchain = ROOT / "examples" / "embed_c" / "arm64.cmake"
    folder = tmp_path_factory.mktemp("dvs-arm")
    program = build(folder, arm_artifact, f"-DCMAKE_TOOLCHAIN_FILE={toolchain}")
    return ["qemu-aarch64", "-cpu", "cortex-a72", *program]


def said(program, *arguments, given=None):
    """The lines of a run, as numbers."""
    done = subprocess.run(
        [*program, *map(str, arguments)], input=given, check=True, stdout=subprocess.PIPE
    )
    lines = done.stdout.decode().splitlines()
    return [
        (*map(int, found.groups()[:4]), float(found[5]))
        for line in lines
        if (found := LINE.fullmatch(line))
    ] or pytest.fail(f"no such line in {lines}")


def windows_of(events, window):
    """Frames of every window from the first event on: uint8 [windows, 2, H, W]."""
    index = (events["t"] - events["t"][0]) // window
    frames = np.zeros((index[-1] + 1, 2, SIZE, SIZE), int)
    np.add.at(frames, (index, events["p"], events["y"], events["x"]), 1)
    return np.minimum(frames, 255)


def check(lines, events, window, artifact):
    """Windows are numbered on, hold their events, and end in what the model says of all of them."""
    frames = windows_of(events, window)
    places = [(k // STEPS + 1, k % STEPS + 1) for k in range(len(frames))]
    assert [line[:2] for line in lines] == places
    assert [line[2] for line in lines] == [int(frame.sum()) for frame in frames]
    complete = len(frames) // STEPS
    for k in range(complete):
        steps = frames[k * STEPS : (k + 1) * STEPS, None]
        (logits,) = artifact.run(steps)
        second, best = np.sort(logits)[-2:]
        _, _, _, label, margin = lines[k * STEPS + STEPS - 1]
        assert label == logits.argmax()
        assert margin == pytest.approx(best - second, abs=1e-6)
    return complete


def bytes_of(events):
    """Events as N-MNIST stores them."""
    time = events["t"]
    rows = (events["x"], events["y"], events["p"] << 7 | time >> 16, time >> 8 & 255, time & 255)
    return np.stack(rows, 1).astype(np.uint8).tobytes()


@pytest.mark.parametrize("window", [20000, 3000])
def test_every_eight_windows_give_the_models_logits(host, host_artifact, window):
    files = RECORDINGS[::10]
    complete = 0
    for file in files:
        events = read_events(file)
        complete += check(said(host, "--window", window, file), events, window, host_artifact)
    assert complete >= len(files) * (300_000 // window // STEPS)


def test_as_many_recordings_are_right_as_the_guide_says(host):
    right = sum(said(host, file)[-1][3] == int(file.parent.name) for file in RECORDINGS)
    guide = (ROOT / "docs" / "guides" / "dvs-camera.md").read_text()
    assert f"{right} of the {len(RECORDINGS)} recordings" in guide


def test_windows_without_events_are_time_steps_too(host, host_artifact):
    events = np.array([(3, 4, 10, 1), (5, 6, 90_000, 0), (7, 8, 330_009, 1)], EVENT)
    lines = said(host, given=bytes_of(events))
    assert [line[2] for line in lines] == [1, 0, 1, 0, 0, 0, 0, 0, 1]
    assert check(lines, events, 40_000, host_artifact) == 1


def test_timers_may_overflow(host, host_artifact):
    events = np.array([(1, 2, t, t % 2) for t in range(0, 40_000, 1000)], EVENT)
    mark = bytes([0, 240, 0, 0, 0])
    stream = bytes_of(events[:20]) + mark + bytes_of(events[20:])
    events["t"][20:] += 1 << 13
    assert check(said(host, "--window", 5000, given=stream), events, 5000, host_artifact) == 1


def test_a_raspberry_pi_4_says_the_same(arm, host):
    for file in RECORDINGS[::25]:
        assert said(arm, "--window", 20_000, file) == said(host, "--window", 20_000, file)


def test_a_pipe_and_real_time_give_the_same(host):
    file = RECORDINGS[0]
    from_file = said(host, file)
    assert said(host, given=file.read_bytes()) == from_file
    assert said(host, "--real-time", file) == from_file


def packed(text, *size):
    return subprocess.run(
        [sys.executable, ROOT / "examples" / "dvs_stream" / "pack.py", *map(str, size)],
        input=text.encode(),
        capture_output=True,
        check=False,
    )


def test_text_of_a_camera_becomes_events(rng, tmp_path):
    count, begin = 2000, 10**12
    x, y, polarity = (rng.integers(0, n, count) for n in (346, 260, 2))
    time = begin + np.sort(rng.integers(0, 20_000_000, count))  # longer than 23 bits
    lines = zip(x, y, polarity, time, strict=True)
    done = packed("".join(f"{' '.join(map(str, line))}\n" for line in lines), 346, 260)
    (tmp_path / "events.bin").write_bytes(done.stdout)
    events = read_events(tmp_path / "events.bin")
    assert np.array_equal(events["t"], time - time[0])
    assert np.array_equal(events["p"], polarity)
    assert np.array_equal(events["x"], x * SIZE // 346)
    assert np.array_equal(events["y"], y * SIZE // 260)


def test_late_events_of_a_camera_keep_their_window(tmp_path):
    done = packed("0 0 1 100\n1 1 0 9000\n2 2 1 8000\n", 34, 34)
    (tmp_path / "events.bin").write_bytes(done.stdout)
    assert list(read_events(tmp_path / "events.bin")["t"]) == [0, 8900, 8192]


@pytest.mark.parametrize(
    ("text", "size", "said"),
    [
        ("1 2 3\n", (34, 34), "not x, y, polarity and microseconds: 1 2 3"),
        ("34 0 0 0\n", (34, 34), "no event of a camera of 34 x 34: 34 0 0 0"),
        ("0 0 2 0\n", (34, 34), "no event of a camera of 34 x 34: 0 0 2 0"),
        ("0 0 0 0\n", ("wide", 34), "Makes N-MNIST's five bytes"),
        ("0 0 0 0\n", (34,), "Makes N-MNIST's five bytes"),
    ],
)
def test_text_of_no_camera_is_refused(text, size, said):
    done = packed(text, *size)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().startswith(said)


@pytest.mark.parametrize(
    ("arguments", "given", "code", "text"),
    [
        ([], b"", 1, "there are no events"),
        ([], bytes(7), 1, "the last event is cut short"),
        ([], bytes([34, 0, 0, 0, 0]), 1, "an event lies outside the model's sensor"),
        ([], bytes(5 * 65537), 1, "too many events in a window: take a shorter one"),
        (["no-such-file"], b"", 1, "cannot open the file of events"),
        (["--window", "0"], b"", 2, "usage: dvs_stream"),
        (["--window", "-1"], b"", 2, "usage: dvs_stream"),
        (["--window"], b"", 2, "usage: dvs_stream"),
        (["--windows", "1"], b"", 2, "usage: dvs_stream"),
        (["one", "two"], b"", 2, "usage: dvs_stream"),
    ],
)
def test_says_what_is_wrong(host, arguments, given, code, text, tmp_path):
    done = subprocess.run(
        [*host, *arguments], input=given, capture_output=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (code, b"")
    assert done.stderr.decode().startswith(f"dvs_stream: {text}")
