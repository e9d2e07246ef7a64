"""hqc energy, on the demo's model."""

from __future__ import annotations

import csv
import io
import json

import pytest
from click.testing import CliRunner

from hqc.cli import cli
from tests.conftest import MODEL, NMNIST

SAMPLE = NMNIST / "sample" / "3"


@pytest.fixture(scope="module")
def found():
    done = CliRunner().invoke(cli, ["energy", str(MODEL), "--data", str(SAMPLE), "--json"])
    return json.loads(done.stdout)


def test_json_has_the_agreed_keys(found):
    agreed = {"average_bits", "storage_ratio", "energy_ratio", "energy_pj", "layers", "groups"}
    assert agreed <= set(found)
    assert found["average_bits"] <= 3.67
    assert found["storage_ratio"] == pytest.approx(32 / found["average_bits"])
    assert found["energy_pj"] == pytest.approx(sum(x["energy_pj"] for x in found["layers"]))
    assert all(len(x["spikes_per_step"]) == 8 for x in found["layers"] if x["rate"] is not None)
    parts = [g for name, g in found["groups"].items() if "." not in name]
    assert found["energy_pj"] == pytest.approx(sum(g["energy_pj"] for g in parts))
    assert {"tokenizer", "attention", "attention.q", "attention.output", "mlp", "head"} <= set(
        found["groups"]
    )
    attention = [g["energy_pj"] for n, g in found["groups"].items() if n.startswith("attention.")]
    assert found["groups"]["attention"]["energy_pj"] == pytest.approx(sum(attention))


def test_the_table_and_its_notes(run_hqc):
    done = run_hqc("energy", MODEL, "--data", SAMPLE)
    assert done.returncode == 0, done.stderr
    assert "by horowitz-45nm" in done.stdout
    assert "note: energies between the published widths" in done.stdout


def test_csv_has_a_line_a_layer(run_hqc, found):
    done = run_hqc("energy", MODEL, "--data", SAMPLE, "--csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [r["name"] for r in rows] == [x["name"] for x in found["layers"]]
    assert float(rows[1]["weight_reads_pj"]) == found["layers"][1]["terms_pj"]["weight_reads"]


def test_another_model_stands_beside(run_hqc):
    done = run_hqc(
        "energy", MODEL, "--data", SAMPLE, "--compare", NMNIST / "fp32.onnx", "--profile", "spikehq"
    )
    assert done.returncode == 0, done.stderr
    (bits,) = [line for line in done.stdout.splitlines() if line.startswith("bits a weight")]
    ours, theirs, ratio = bits.split()[3:]
    assert theirs == "32.00"
    assert float(ratio.removesuffix("x")) == pytest.approx(32 / float(ours), rel=0.01)


def test_assumed_rates_need_no_recordings(run_hqc, tmp_path):
    (tmp_path / "alone.onnx").write_bytes(MODEL.read_bytes())
    done = run_hqc("energy", "alone.onnx")
    assert done.returncode == 2
    assert "no recordings to measure the firing rates" in done.stderr
    done = run_hqc("energy", "alone.onnx", "--rates", "uniform=0.25", "--json")
    assert done.returncode == 0, done.stderr
    for layer in json.loads(done.stdout)["layers"]:
        if layer["rate"] is not None:
            assert layer["rate"] == pytest.approx(0.25)
            meet = 2 if layer["name"] == "blocks.0.attention/MatMul" else 1
            assert layer["operations"] == pytest.approx(0.25**meet * layer["synapses"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rates", "uniform=2"], "is no rate"),
        (["--rates", "often"], "is no rate"),
        (["--profile", "horowitz"], "there is no energy profile 'horowitz'"),
        (["--data", "nowhere"], "nowhere"),
        (["--compare", "nothing.onnx"], "nothing.onnx"),
    ],
)
def test_mistakes(run_hqc, arguments, message):
    done = run_hqc("energy", MODEL, *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_profile_of_ones_own(run_hqc, tmp_path):
    (tmp_path / "mine.hqt").write_text(
        'energy mine extends horowitz-45nm {\n  dram = 2.6 nJ / 64 bit from "measured"\n}\n'
    )
    done = run_hqc("energy", MODEL, "--data", SAMPLE, "--profile", "mine.hqt", "--json")
    assert json.loads(done.stdout)["profile"] == "mine"


def test_a_profile_by_which_nothing_takes_energy(run_hqc, tmp_path):
    (tmp_path / "none.hqt").write_text(
        "energy none {\n  storage = weights * weight_bits\n  energy = 0 pJ\n}\n"
    )
    done = run_hqc("energy", MODEL, "--data", SAMPLE, "--profile", "none.hqt")
    assert done.returncode == 2
    assert "'none' gives this model energy of 0" in done.stderr
