"""The program that times a model on its device."""

from __future__ import annotations

import json
import re
import subprocess

import numpy as np
import pytest

import hqc
from hqc.bench_program import run_lengths
from hqc.compiler import recordings_for
from hqc.frontend.load import load_model
from hqc.reference import run_reference
from tests.conftest import MODEL


@pytest.fixture(scope="module")
def program(host_artifact):
    return host_artifact.file("_bench")


def run(program, *arguments, **kwargs):
    return subprocess.run([program, *arguments], capture_output=True, text=True, **kwargs)


def test_it_times_whole_inferences_and_each_kernel(program, host_artifact, tmp_path):
    alone = tmp_path / "alone"
    alone.write_bytes(program.read_bytes())
    alone.chmod(0o755)
    done = run(alone, "--seconds", "0.2", "--json", cwd=tmp_path, env={})
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["recordings"], said["equal"]) == (10, 10)
    times = said["percentiles_ms"]
    assert said["fastest_ms"] <= times["10"] <= said["median_ms"] <= times["90"] <= times["99"]
    assert said["runs"] >= 50
    assert said["runs"] % 10 == 0
    assert said["peak_memory_bytes"] > host_artifact.manifest["memory"]["arena_bytes"]
    kernels = {k["name"]: k["ms"] for k in said["kernels"]}
    assert list(kernels) == [k["name"] for k in host_artifact.manifest["kernels"]]
    # A layer of 50 thousand additions takes longer than the sum of a few numbers.
    assert kernels["tokenizer.1.lif"] > kernels["head"] > 0


def test_it_says_the_same_in_words(program):
    done = run(program, "--seconds", "0.05", "--cpu", "0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("nmnist for host, compiled by hqc")
    assert "  logits equal     10 of 10 recordings\n" in done.stdout
    assert re.search(r"ms an inference  [\d.]+ median, [\d.]+ fastest; \d+ runs, ", done.stdout)


def test_logits_that_differ_in_one_bit_are_found(program, tmp_path):
    """The expected logits are changed in a copy of the program."""
    (recording, *_) = recordings_for(MODEL, load_model(MODEL), None, 10)
    (logits,) = run_reference(load_model(MODEL), {"frames": recording.frames})
    content = bytearray(program.read_bytes())
    expected = hqc.Artifact.open(program.parent).run(recording.frames).astype("<f4").tobytes()
    assert np.allclose(np.frombuffer(expected, "<f4"), logits.reshape(-1), atol=1e-3)
    assert content.count(expected) == 1
    content[content.index(expected)] ^= 1
    changed = tmp_path / "changed"
    changed.write_bytes(content)
    changed.chmod(0o755)
    done = run(changed, "--seconds", "0.05")
    assert done.returncode == 1
    assert "logits equal     9 of 10" in done.stdout
    assert done.stderr == "nmnist_bench: the logits of 1 of 10 recordings differ\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fast"], "there is no option --fast"),
        (["--seconds"], "--seconds takes a number up to 3600, not nothing"),
        (["--seconds", "0"], "--seconds takes a number up to 3600, not 0"),
        (["--seconds", "nan"], "--seconds takes a number up to 3600, not nan"),
        (["--seconds", ""], "--seconds takes a number up to 3600, not "),
        (["--cpu", "x"], "--cpu takes the number of a processor, not x"),
        (["--cpu", "-1"], "--cpu takes the number of a processor, not -1"),
        (["--cpu", "1023"], "cannot run on processor 1023: Invalid argument"),
    ],
)
def test_wrong_command_lines(arguments, message, program):
    done = run(program, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"nmnist_bench: {message}\n")


def test_help(program):
    done = run(program, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(option in done.stdout for option in ("--seconds S", "--cpu N", "--json"))


def test_a_result_that_cannot_be_written_is_a_failure(program):
    with open("/dev/full", "w") as full:
        done = subprocess.run([program, "--seconds", "0.05"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert b"cannot write the result: No space left on device" in done.stderr


@pytest.mark.parametrize("target", ["armv7-a7", "rv64gc", "rv32imc"])
def test_it_runs_on_every_architecture(target, tiny_model, tmp_path):
    artifact = hqc.compile(tiny_model, target, tmp_path / "build", bench=True)
    emulator = artifact.target.emulate.split()
    done = run(emulator[0], *emulator[1:], artifact.file("_bench"), "--seconds", "0.05")
    assert done.returncode == 0, done.stderr
    assert "10 of 10 recordings" in done.stdout


def test_targets_without_linux_get_none(tiny_model, bare_target, run_hqc, tmp_path):
    for target, name in (("cortex-m4", "cortex-m4"), (bare_target, "bare")):
        done = run_hqc("compile", tiny_model, "--target", target, "--bench")
        assert done.returncode == 2
        assert f"target {name} has no Linux" in done.stderr
        assert not (tmp_path / "build").exists()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0, 0, 0, 0], [9, 0.0]),
        ([1, 2, 2], [6, 1.0, 2.0, 2.0]),
        ([1, 2, 2, 2, 3], [2, 1.0, 7, 2.0, 2, 3.0]),
        ([0.0, -0.0, -0.0, -0.0], [2, 0.0, 7, -0.0]),
    ],
)
def test_runs_of_frames(values, words):
    expected = b"".join(
        np.array(word, "<f4" if isinstance(word, float) else "<u4").tobytes() for word in words
    )
    assert run_lengths(np.array(values, np.float32)).tobytes() == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [(b"", "there is no recording"), (b"1234567", "the last recording is cut short")],
)
def test_the_runner_refuses_what_are_no_recordings(given, message, host_artifact, tmp_path):
    folder, runner = host_artifact.folder, tmp_path / "runner"
    sources = [folder / "nmnist_runner.c", folder / "libnmnist.a"]
    subprocess.run(["cc", "-I", folder, *sources, "-o", runner], check=True)
    done = subprocess.run([runner], input=given, capture_output=True)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == f"nmnist: {message}\n"
