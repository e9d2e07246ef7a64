"""A short run of the trials of files, and that they notice what they are there for."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import pytest

from hqc.compiler import lower, pipeline_for
from hqc.errors import UserError
from hqc.frontend.load import load_model
from hqc.targets import load_target
from tests.fuzz import files


def test_files_are_taken_or_refused():
    wanted = files.cases(400, seed=7)
    outcomes = list(files.run_all(wanted))
    assert [case for case, _ in outcomes] == wanted
    failed = [(case, o) for case, o in outcomes if o not in ("taken", "refused")]
    assert not failed, failed
    seen = Counter((case.kind, outcome) for case, outcome in outcomes)
    for kind in ("model", "pipeline", "target", "recording"):
        assert seen[kind, "taken"] > 0, kind
        assert seen[kind, "refused"] > 0, kind
    assert seen["artifact", "refused"] > 0


def test_the_networks_are_lowered_when_nothing_is_changed(tmp_path):
    for name, proto in files.networks().items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(proto.SerializeToString())
        lower(load_model(path), pipeline_for(load_target("host")))


def test_cases_are_those_of_their_seed():
    case = files.cases(20, seed=3)[11]
    assert case == files.cases(20, seed=3)[11]
    assert case.rng.integers(10**9) == case.rng.integers(10**9)
    assert case.rng.integers(10**9) != files.Case(case.kind, 4, 11).rng.integers(10**9)


def stumble(folder, rng):
    raise KeyError("a fault")


def end(folder, rng):
    os.abort()


def hang(folder, rng):
    time.sleep(30)


def leave(folder, rng):
    Path(folder, ".build.x").mkdir()
    raise UserError("refused, but")


def mute(folder, rng):
    raise UserError(" ")


@pytest.mark.parametrize(
    ("trial", "outcome"),
    [
        (stumble, "KeyError: 'a fault', in "),
        (end, "the process ended: -6"),
        (hang, "TimeoutError: took more than 1 s"),
        (leave, "left ['.build.x']"),
        (mute, "an empty message"),
    ],
)
def test_faults_are_noticed_and_kept(trial, outcome, monkeypatch, tmp_path):
    monkeypatch.setattr(files, "SECONDS", 1)
    monkeypatch.setitem(files.KINDS, "recording", trial)
    wanted = [files.Case("target", 0, 0), files.Case("recording", 0, 1), files.Case("target", 0, 2)]
    found = [o for _, o in files.run_all(wanted, tmp_path)]
    assert found[1].startswith(outcome)
    assert {found[0], found[2]} <= {"taken", "refused"}
