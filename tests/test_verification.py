"""The promise: compiled code equals the integer model in every bit, on every ISA."""

from __future__ import annotations

import pytest

import hqc
from hqc import verification
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
