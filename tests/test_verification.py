"""The promise: compiled code equals the integer model in every bit, on every ISA."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import hqc
from hqc import verification
from hqc.codegen.toolchain import Toolchain
from hqc.execution import MODES, execute, link_runner
from hqc.passes import DEFAULT
from hqc.verification import run_compiled
from tests.conftest import MODEL


@pytest.mark.parametrize("target", ["host", "arm-a72", "rv64gc"])
def test_all_recordings_are_bit_identical(target):
    found = hqc.verify(MODEL, target)
    assert found.recordings == 100
    assert found.ok
    assert (found.compiled_differs, found.stream_differs, found.kernels_differ) == (0, 0, 0)
    assert found.spikes > 90_000_000
    assert found.spikes_differ <= found.spikes * 1e-5
    assert found.accuracy["compiled"] >= 0.96


def test_random_frames_serve_where_there_are_no_recordings(tiny_model):
    found = hqc.verify(tiny_model)
    assert found.ok
    assert found.recordings == 5
    assert 0 == found.spikes_differ < found.spikes
    assert found.accuracy == {}


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_what_is_found_does_not_depend_on_threads(tiny_model, threads):
    # Coarse rounding: spikes and logits differ from the float network's.
    options = {"passes": DEFAULT.replace("make-integer", "make-integer{potential_bits=16}")}
    one = hqc.verify(tiny_model, threads=1, **options).as_dict()
    assert one["logits_error"] > 0
    assert hqc.verify(tiny_model, threads=threads, **options).as_dict() == one


@pytest.mark.parametrize("processes", [2, 3, 9])
@pytest.mark.parametrize("mode", MODES)
def test_processes_share_recordings_in_order(host_artifact, recordings, processes, mode, tmp_path):
    few, target = recordings[::15], host_artifact.target
    expected = run_compiled(host_artifact, few)
    assert len(np.unique(expected, axis=0)) == 7
    build = shutil.copytree(host_artifact.folder, tmp_path / "build")
    runner = link_runner(Toolchain.of(target), host_artifact.name, build)
    found = execute(target, runner, mode, few, expected.shape[1], processes)
    np.testing.assert_array_equal(found, expected)


def test_no_threads_are_refused(tiny_model):
    with pytest.raises(hqc.UserError, match="0 threads do no work"):
        hqc.verify(tiny_model, threads=0)


def test_a_difference_is_found(tiny_model, monkeypatch):
    """One flipped bit in one logit of the compiled code must be reported."""
    true = verification.execute

    def flipped(*arguments):
        logits = true(*arguments).copy()
        logits.view("u4")[3, 1] ^= 1
        return logits

    monkeypatch.setattr(verification, "execute", flipped)
    found = hqc.verify(tiny_model)
    assert not found.ok
    assert (found.compiled_differs, found.stream_differs, found.kernels_differ) == (1, 1, 0)


@pytest.mark.parametrize(
    "target",
    [
        *("rv64gcv", "armv7-a7", "rv32imc", "cortex-m4", "cortex-m7", "cortex-m55"),
        *("wasm32", "wasm32-plain"),
    ],
)
def test_other_machines_are_bit_exact(target, tiny_model):
    found = hqc.verify(tiny_model, target)
    assert found.ok
    assert found.recordings == 5
    assert 0 == found.spikes_differ < found.spikes
