"""hqc compile --tune: kernels that are measured, and records that say what was."""

from __future__ import annotations

import json

import numpy as np
import pytest

import hqc
from hqc.errors import ToolError
from tests.networks import Network

WIDTH = 64
"""Channels that fill vectors, so that a layer may be computed by events, fields and planes."""


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Three layers of spikes, of 2 and 4 bits, and recordings beside it."""
    folder = tmp_path_factory.mktemp("tuned")
    rng = np.random.default_rng(0)
    net = Network((2, 1, 2, 6, 6))
    x, inputs = net.input(), 2
    for name, bits, size in (("stem", 8, 3), ("few", 2, 3), ("more", 4, 1), ("last", 4, 1)):
        weights = net.quantized(rng.normal(size=(WIDTH, inputs, size, size)), bits)
        pads = [size // 2] * 4
        x = net.op("Conv", x, weights, kernel_shape=[size, size], pads=pads, name=name)
        x = net.lif(x, v_threshold=1.0, name=f"{name}.lif")
        inputs = WIDTH
    net.head(net.mean(x, (0, 2, 3)), WIDTH)
    (folder / "sample").mkdir()
    np.save(folder / "sample" / "one.npy", rng.poisson(1.0, net.frames).astype(np.float32))
    return net.save(folder / "net.onnx")


def layers_of(file):
    return json.loads(file.read_text())["layers"]


def kernels_of(artifact):
    return {x["name"]: x["kernel"] for x in artifact.manifest["layers"]}


def rewritten(file, change):
    """The records, changed by a function, laid out by a program that knows nothing of hqc."""
    found = json.loads(file.read_text())
    change(found)
    file.write_text(json.dumps(found, indent=4))


@pytest.fixture(scope="module")
def tuned(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("arm")
    file = folder / "arm.json"
    return hqc.compile(network, "arm-a72", folder / "build", tune=file), file


def test_every_layer_gets_the_least_that_was_measured(tuned):
    artifact, file = tuned
    found = json.loads(file.read_text())
    assert (found["target"], found["unit"]) == ("arm-a72", "cycles")
    assert len(found["layers"]) == 3
    assert all(len(x["measured"]) >= 2 for x in found["layers"])
    assert all(x["kernel"] == min(x["measured"], key=x["measured"].get) for x in found["layers"])
    assert {x["layer"]["weight_bits"] for x in found["layers"]} == {2, 4}
    chosen = sorted(x["kernel"] for x in found["layers"])
    made = kernels_of(artifact)
    assert sorted(made[f"{name}.lif"] for name in ("few", "more", "last")) == chosen


def test_what_is_recorded_is_not_measured_again(tuned, network, tmp_path, monkeypatch):
    artifact, file = tuned
    before = file.read_bytes()
    monkeypatch.setenv("PATH", str(tmp_path))
    again = hqc.compile(network, "arm-a72", tmp_path / "build", tune=file)
    assert file.read_bytes() == before
    library = f"lib{again.name}.a"
    assert (again.folder / library).read_bytes() == (artifact.folder / library).read_bytes()


def test_the_kernel_that_the_records_name_is_built(tuned, network, tmp_path, monkeypatch):
    _, file = tuned
    mine = tmp_path / "mine.json"
    mine.write_text(file.read_text())

    def name_the_worst(found):
        for row in found["layers"]:
            row["kernel"] = max(row["measured"], key=row["measured"].get)

    rewritten(mine, name_the_worst)
    monkeypatch.setenv("PATH", str(tmp_path))
    artifact = hqc.compile(network, "arm-a72", tmp_path / "build", tune=mine)
    wanted = sorted(row["kernel"] for row in layers_of(mine))
    found = kernels_of(artifact)
    assert sorted(found[f"{name}.lif"] for name in ("few", "more", "last")) == wanted
    assert wanted != sorted(row["kernel"] for row in layers_of(file))


def test_only_layers_that_lack_are_measured(tuned, network, tmp_path):
    _, file = tuned
    mine = tmp_path / "mine.json"
    mine.write_text(file.read_text())

    def forget_one_and_mark_the_others(found):
        found["layers"].pop()
        for row in found["layers"]:
            row["measured"] = dict.fromkeys(row["measured"], 7)

    rewritten(mine, forget_one_and_mark_the_others)
    hqc.compile(network, "arm-a72", tmp_path / "build", tune=mine)
    *marked, measured = layers_of(mine)
    assert all(set(row["measured"].values()) == {7} for row in marked)
    assert measured == layers_of(file)[-1]


def test_this_machine_is_timed_and_the_code_is_right(network, tmp_path, run_hqc):
    done = run_hqc("compile", network, "-o", "build", "--tune", "host.json", "--verify-each", "-q")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    found = json.loads((tmp_path / "host.json").read_text())
    assert (found["target"], found["unit"], len(found["layers"])) == ("host", "nanoseconds", 3)
    assert all(figure > 0 for row in found["layers"] for figure in row["measured"].values())


def test_records_of_another_target_are_refused_before_anything_is_made(
    tuned, network, tmp_path, run_hqc
):
    _, file = tuned
    done = run_hqc("compile", network, "--target", "rv64gcv", "-o", "build", "--tune", file)
    assert done.returncode == 2
    assert "its records are of target arm-a72, not rv64gcv" in done.stderr
    done = run_hqc(
        "compile", network, "--target", "arm-a72", "--optimize", "size", "-o", "build",
        "--tune", file,
    )  # fmt: skip
    assert done.returncode == 2
    assert "its records are of optimize speed, not size" in done.stderr
    assert not (tmp_path / "build").exists()


def test_machines_that_nothing_emulates_have_no_records(network, bare_target, tmp_path):
    with pytest.raises(ToolError, match="says no 'emulate'"):
        hqc.compile(network, bare_target, tmp_path / "build", tune=tmp_path / "records.json")
    assert not (tmp_path / "records.json").exists()
