"""Results on disk, never written over, and compared."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hqc.bench.on import Result
from hqc.bench.saved import compare, load, save

RESULT = Result(
    model="net",
    model_sha256="ab" * 32,
    hqc="0.1.0",
    target="arm-a72",
    place="ssh://pi@board",
    recordings=10,
    equal=10,
    device={"cpu": "Cortex-A72", "clock_mhz": [1500, 1500]},
    compiler="LLVM 22",
    median_ms=2.0,
    fastest_ms=1.5,
    percentiles_ms={"90": 2.5},
    runs=50,
    kernels=[{"name": f"k{i}", "ms": 0.1 * (i + 1)} for i in range(12)],
    time="2026-01-02T03:04:05+00:00",
)


def test_a_folder_gets_a_file_for_each_run(tmp_path):
    names = [save(RESULT, tmp_path / "runs").name for _ in range(2)]
    assert names == [
        "net-ssh-pi-board-20260102T030405.json", "net-ssh-pi-board-20260102T030405-2.json",
    ]  # fmt: skip
    assert load(tmp_path / "runs" / names[1]) == RESULT


def test_files_are_not_written_over(tiny_model, run_hqc, tmp_path):
    (tmp_path / "mine.json").write_text("mine")
    done = run_hqc("bench", tiny_model, "--on", "host", "--save", "mine.json")
    assert done.returncode == 2
    assert "--save: mine.json exists" in done.stderr
    assert (tmp_path / "mine.json").read_text() == "mine"


def test_many_results_need_a_folder(tiny_model, run_hqc, tmp_path):
    (tmp_path / "devices.toml").write_text(
        '[devices.a]\non = "host"\n[devices.b]\non = "host"\n'
    )  # fmt: skip
    done = run_hqc("bench", tiny_model, "--on", "devices.toml", "--save", "all.json")
    assert done.returncode == 2
    assert "--save: 2 results do not fit one file" in done.stderr


def test_what_differs_and_by_how_much():
    slower = [{"name": k["name"], "ms": k["ms"] * (3 if k["name"] == "k3" else 1)}
              for k in RESULT.kernels]  # fmt: skip
    other = replace(
        RESULT, compiler="LLVM 23", model_sha256="cd" * 32, median_ms=3.0, percentiles_ms={},
        device={"cpu": "Cortex-A76", "clock_mhz": [2400, 2400]}, kernels=slower,
    )  # fmt: skip
    found = compare(RESULT, other)
    assert list(found.differs) == ["model_sha256", "compiler", "device cpu"]
    assert found.figures == {"ms median": (2.0, 3.0), "ms fastest": (1.5, 1.5)}
    assert len(found.kernels) == 10
    assert next(iter(found.kernels)) == "k3"


def test_instructions_are_compared_where_there_are_no_times():
    counted = replace(RESULT, kernels=[{"name": "k", "instructions": 10}])
    assert compare(counted, counted).kernels == {"k": (10, 10)}
    assert compare(counted, RESULT).kernels == {}


def test_compare_prints_a_table(run_hqc, tmp_path):
    save(RESULT, tmp_path / "a.json")
    save(replace(RESULT, median_ms=1.0, compiler="LLVM 23"), tmp_path / "b.json")
    done = run_hqc("bench", "--compare", "a.json", "b.json")
    assert done.returncode == 0, done.stderr
    first, head, median, *_ = done.stdout.splitlines()
    assert first == "compiler differs: LLVM 22 | LLVM 23"
    assert head.split() == ["a.json", "b.json", "ratio"]
    assert median.split() == ["2", "1", "0.50", "ms", "median"]
    done = run_hqc("bench", "--compare", "a.json", "b.json", "--json")
    assert json.loads(done.stdout)["figures"]["ms median"] == [2.0, 1.0]


@pytest.mark.parametrize(
    "change",
    [
        {"median_ms": "fast"}, {"kernels": [{}]}, {"kernels": 3}, {"percentiles_ms": 3},
        {"device": []}, {"colour": "red"}, {"model_sha256": None},
        {"kernels": [{"name": "a", "ms": "b"}]},
    ],
)  # fmt: skip
def test_files_that_hold_no_result(change, run_hqc, tmp_path):
    save(RESULT, tmp_path / "a.json")
    (tmp_path / "b.json").write_text(json.dumps(RESULT.as_dict() | change))
    done = run_hqc("bench", "--compare", "a.json", "b.json")
    assert done.returncode == 2
    assert "b.json holds no result of a benchmark" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--save", "runs"], "--save keeps what a device or a suite gave"),
        ([], "without --on it takes one MODEL"),
        (["--on", "host"], "--on host takes one MODEL"),
        (["--on", "moon"], "--on: 'moon' is no place to run a benchmark"),
        (["--compare", "a.json", "none.json"], "a.json"),
    ],
)
def test_wrong_command_lines(arguments, message, run_hqc):
    done = run_hqc("bench", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
