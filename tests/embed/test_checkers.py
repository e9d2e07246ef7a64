"""Libraries under the checkers of memory, of undefined behaviour and of threads."""

from __future__ import annotations

import platform
import subprocess

import numpy as np
import pytest

from tests.embed.programs import (
    HERE,
    OK,
    STEPS,
    WIDTH,
    Calls,
    compiled,
    small_network,
)

FLAGS = ["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror"]
PLAIN = """target plain {
  about    "What valgrind knows of x86"
  llvm     triple "x86_64-linux-gnu", cpu "x86-64-v2"
  compiler "x86_64-linux-gnu"
  vector   128 bit
}
"""


def build(folder, checker, libraries, source):
    """A program of a file of this folder, with entries checked and kernels as they are."""
    command = ["gcc", *FLAGS, *checker, str(HERE / source)]
    for library in libraries:
        (name,) = (p.stem for p in library.glob("*.hqt"))
        command += [f"-I{library}", str(library / f"{name}.c"), str(library / f"lib{name}.a")]
    subprocess.run([*command, "-pthread", "-o", "program"], cwd=folder, check=True)
    return str(folder / "program")


def calls_of_all_entries(library):
    """Each entry, in and out of order, and events in every corner."""
    rng, calls = np.random.default_rng(8), Calls(library)
    size = int(calls.sizes["STEP_INPUT_SIZE"])
    frames = rng.normal(0, 300, (STEPS, size)).astype(np.float32)
    frames[0, :3] = np.nan, np.inf, -np.inf
    codes = rng.integers(0, 256, (STEPS, size), dtype=np.uint8)
    events = rng.integers(0, [2**32, WIDTH, 5, 2], (500, 4)).astype("<u4")
    for letter in "crngiucngrng":
        calls(letter)
    for times in range(1, STEPS + 2):
        calls("r")
        for t in range(times):
            calls("s", frames[t % STEPS])
            calls("b", codes[t % STEPS])
            calls("e", events[: 1 + 100 * t])
            calls("g")
            calls("c")
        calls("n")
        calls("R", frames)
        calls("B", codes)
        calls("E", events)
        calls("E", events[:0])
        calls("E", events + np.array([0, 0, 1, 0], "<u4"))
        calls("c")
    return calls


@pytest.fixture(scope="module")
def rows(once):
    """The library of a network whose logits are several rows."""

    def make(folder):
        (folder / "plain.hqt").write_text(PLAIN)
        model = small_network(folder / "net.onnx", scale=0.75, rows=STEPS)
        compiled(model, "host", folder / "net")
        compiled(model, str(folder / "plain.hqt"), folder / "plain")

    return once("checked", make)


def test_memory_and_behaviour(rows, tmp_path):
    checker = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DEVENTS=8192"]
    program = build(tmp_path, checker, [rows / "net"], "calls.c")
    answers = calls_of_all_entries(rows / "net").answers([program])
    assert sum(status == OK for status, _ in answers) > 40


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the target is x86")
def test_nothing_is_read_before_it_is_written(rows, tmp_path):
    """By valgrind, which follows every bit from the arena to what the program writes."""
    program = build(tmp_path, ["-DEVENTS=8192", "-DUNWRITTEN"], [rows / "plain"], "calls.c")
    command = ["valgrind", "-q", "--error-exitcode=9", program]
    answers = calls_of_all_entries(rows / "plain").answers(command)
    assert sum(status == OK for status, _ in answers) > 40


@pytest.mark.parametrize(
    ("checker", "inferences"),
    [([], 10_000), (["-fsanitize=thread"], 1000)],
    ids=["plain", "thread"],
)
def test_threads(checker, inferences, rows, tiny_model, tmp_path):
    other = compiled(tiny_model, "host", tmp_path / "other", name="other")
    program = build(tmp_path, checker, [rows / "net", other], "threads.c")
    command = [program, str(inferences)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"0 wrong of {2 * inferences}\n"
    assert not done.stderr
