"""hqc bench on an emulator: instructions, cache misses, and an estimate from both."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hqc.bench.on import Job, find_place
from hqc.bench.saved import compare, load
from hqc.data.recordings import Recording
from hqc.errors import ToolError, UserError
from hqc.kernel_counts import Counts, estimated_ms
from hqc.targets import load_target


@pytest.fixture
def frames(rng):
    return [Recording("", rng.poisson(1.0, (2, 1, 1, 4, 4)).astype(np.float32)) for _ in range(2)]


def run(model, frames, target):
    return find_place("emulator")("emulator", Job(model, frames, target))


def test_a_machine_with_caches(tiny_model, frames):
    found = run(tiny_model, frames, "arm-a72")
    assert (found.place, found.target) == ("emulator", "arm-a72")
    assert (found.recordings, found.equal) == (2, 2)
    assert found.instructions == sum(k["instructions"] for k in found.kernels)
    assert set(found.cache_misses) == {"l1d", "l2"}
    for name, count in found.cache_misses.items():
        assert count == sum(k["cache_misses"][name] for k in found.kernels)
    counts = Counts(found.instructions, 0, found.cache_misses)
    assert found.estimated_ms == estimated_ms(load_target("arm-a72"), counts) > 0
    assert found.median_ms is None
    assert found.device["emulator"] == "qemu-aarch64"


def test_a_peer_beside(tiny_model, frames, run_hqc, tmp_path):
    np.save(tmp_path / "frames.npy", frames[0].frames)
    place = ["--on", "emulator", "--target", "arm-a72", "--data", "frames.npy"]
    done = run_hqc("bench", tiny_model, *place, "--peers", "tvm-fp32-tiled", "--save", "a.json")
    assert done.returncode == 0, done.stderr
    found = load(tmp_path / "a.json")
    assert found.equal == 1
    (peer,) = found.peers.values()
    assert peer["ratio"] == peer["instructions"] / found.instructions > 0
    said = f"{peer['instructions']:,} instructions, {peer['ratio']:.2f} times hqc's"
    assert re.search(rf"^  tvm-fp32-tiled +{re.escape(said)}$", done.stdout, re.MULTILINE)
    both = (peer["instructions"], peer["instructions"])
    assert compare(found, found).figures["instructions tvm-fp32-tiled"] == both


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["emulator", "--peers", "tvm-fp23"], "did you mean 'tvm-fp32'?", "tvm-fp32-tiled"),
        (["emulator", "--peers", "openvino-fp32"], "no counted peer", "that an emulator counts"),
        (["host", "--peers", "tvm-fp32"], "--peers run on this machine", "or --on host"),
    ],
)
def test_peers_that_are_not_counted(arguments, message, hint, tiny_model, run_hqc):
    done = run_hqc("bench", tiny_model, "--target", "arm-a72", "--on", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert hint in done.stderr


def test_a_machine_without_caches_or_constants_lacks_what_needs_them(tiny_model, frames):
    found = run(tiny_model, frames, "cortex-m4")
    assert (found.recordings, found.equal) == (2, 2)
    assert found.instructions > 0
    assert (found.cache_misses, found.estimated_ms) == ({}, None)


def test_a_machine_that_lacks_arithmetic(tiny_model, frames):
    """Kernels and entries of Cortex-M0+ call routines of the model's own."""
    assert run(tiny_model, frames, "cortex-m0plus").equal == 2


def test_a_cortex_m_with_caches(tiny_model, frames, tmp_path):
    """The emulator of whole boards, with lines of 32 B."""
    target = tmp_path / "m7.hqt"
    target.write_text(
        "target m7 extends cortex-m7 {\n  cache l1d 1 KiB 4 ways random, line 32 B\n"
        '  clock 216 MHz\n  cycles 1 instruction from "here", 20 l1d miss from "here"\n}\n'
    )
    found = run(tiny_model, frames, str(target))
    assert found.equal == 2
    assert found.cache_misses["l1d"] > 0
    cycles = found.instructions + 20 * found.cache_misses["l1d"]
    assert found.estimated_ms == pytest.approx(cycles / 216e6 * 1e3)


def test_logits_that_differ_are_not_equal(tiny_model, frames, monkeypatch):
    from hqc.bench.on import emulator

    real = emulator.count_kernels

    def wrong(*arguments):
        counts, logits = real(*arguments)
        logits = logits.copy()
        logits[1, 0] = np.nextafter(logits[1, 0], np.float32(np.inf))
        return counts, logits

    monkeypatch.setattr(emulator, "count_kernels", wrong)
    assert run(tiny_model, frames, "arm-a72").equal == 1


@pytest.mark.parametrize(
    ("target", "message"),
    [(None, "--on emulator: no machine is named"), ("host", "--target host is this machine")],
)
def test_the_machine_must_be_another(tiny_model, frames, target, message):
    with pytest.raises(UserError, match=message) as said:
        run(tiny_model, frames, target)
    assert "--target arm-a72" in said.value.hint


def test_without_recordings_nothing_is_run(tiny_model):
    with pytest.raises(UserError, match="there are no recordings"):
        run(tiny_model, [], "arm-a72")


def test_a_machine_that_nothing_emulates(tiny_model, frames, bare_target):
    with pytest.raises(ToolError, match="bare says no 'emulate'"):
        run(tiny_model, frames, bare_target)


def test_an_emulator_that_is_not_installed(tiny_model, frames, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="qemu-aarch64, which is not installed"):
        run(tiny_model, frames, "arm-a72")
