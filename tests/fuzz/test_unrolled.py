"""A short run of networks whose neurons are written out, and that it notices wrong ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hqc.frontend import firings, unrolled
from tests.fuzz.oracle import reason
from tests.fuzz.unrolled import outcome


def test_neurons_that_are_written_out_are_found():
    found = Counter(outcome(seed) for seed in range(1000, 1016))
    kinds = {reason(text) for text in found if text != "right"}
    assert found["right"] >= 12
    assert all("its neurons are reset to several levels" in kind for kind in kinds), kinds


def test_a_wrong_reset_is_noticed(monkeypatch):
    """Of neurons that go on from what they were where they fired."""
    true = unrolled._from

    def wrong(*given):
        step = true(*given)
        return step and replace(step, bias_fired=step.bias_fired * 0.5)

    monkeypatch.setattr(unrolled, "_from", wrong)
    found = [outcome(seed) for seed in range(1000, 1006)]
    assert any(text.startswith("wrong: VerificationError") for text in found), found


def test_neurons_that_are_overlooked_are_noticed(monkeypatch):
    kinds = firings._THRESHOLDS - {"Greater", "Less", "Sign"}
    monkeypatch.setattr(firings, "_THRESHOLDS", kinds)
    found = [outcome(seed) for seed in range(1000, 1006)]
    assert any("were found" in text or "no integer lowering" in text for text in found), found
