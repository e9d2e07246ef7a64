"""hqc profile: time on the host, instructions under QEMU, the energy model beside them."""

from __future__ import annotations

import fnmatch
import json

import numpy as np
import pytest

import hqc
from hqc.energy.estimate_model import estimate_model
from hqc.frontend.load import load_model
from hqc.profiling import profile_artifact
from hqc.targets import load_profile
from tests.conftest import MODEL, NMNIST
from tests.refusals.case import Small

SAMPLE = NMNIST / "sample" / "3"
HOROWITZ = load_profile("horowitz-45nm")


def resolve(recipe, layer):
    return next(c for pattern, c in recipe.items() if fnmatch.fnmatchcase(layer, pattern))


def test_the_host_is_timed_kernel_by_kernel(host_artifact):
    found = profile_artifact(host_artifact, HOROWITZ, data=SAMPLE, rounds=3)
    assert [k.name for k in found.kernels] == [k["name"] for k in host_artifact.manifest["kernels"]]
    assert all(k.milliseconds >= 0 for k in found.kernels)
    assert found.milliseconds == pytest.approx(sum(k.milliseconds for k in found.kernels))
    assert (found.instructions, found.cache_misses, found.estimated_ms) == (None, {}, None)
    assert found.byte_additions > 1e8
    assert all(k.floor_ms > 0 for k in found.kernels if k.operations)


def test_every_layer_is_behind_one_kernel(host_artifact):
    found = profile_artifact(host_artifact, HOROWITZ, data=SAMPLE, rounds=1, limit=None)
    expected = estimate_model(load_model(MODEL), MODEL, HOROWITZ, data=SAMPLE)
    assert sum(k.energy_pj or 0 for k in found.kernels) == pytest.approx(expected.total.energy)
    precisions = {k.name: k.precision for k in found.kernels if k.precision}
    assert len(precisions) == 12
    recipe = json.loads((NMNIST / "recipe.json").read_text())
    assert precisions["blocks.0.mlp.1.lif"] == resolve(recipe, "blocks.0.mlp.1.linear")


def test_sums_over_windows_and_channels_are_nobodys_layers(tmp_path):
    net = Small(tmp_path)
    pooled = net.op("AveragePool", net.spikes(), kernel_shape=[2, 2], name="pool")
    total = net.op("ReduceSum", pooled, net.constant([1], np.int64), keepdims=1, name="sum")
    net.end(net.lif(net.conv(total, (1, 6))))
    artifact = hqc.compile(net.save(net.path), target="host", output=tmp_path / "build")
    np.save(tmp_path / "frames.npy", np.ones(net.frames, np.float32))
    found = profile_artifact(artifact, HOROWITZ, data=tmp_path / "frames.npy", rounds=1)
    assert [k["layer"] for k in artifact.manifest["kernels"] if k["weight_bytes"]] == [
        "stem", None, None, "conv", "head",
    ]  # fmt: skip
    assert all(k.milliseconds >= 0 for k in found.kernels)


@pytest.fixture(scope="module")
def arm_profile(arm_artifact):
    return profile_artifact(arm_artifact, HOROWITZ, data=SAMPLE, limit=1)


def test_instructions_are_counted_under_qemu_and_do_not_change(arm_profile, arm_artifact):
    again = profile_artifact(arm_artifact, HOROWITZ, data=SAMPLE, limit=1)
    assert [k.instructions for k in arm_profile.kernels] == [k.instructions for k in again.kernels]
    assert [k.cache_misses for k in arm_profile.kernels] == [k.cache_misses for k in again.kernels]
    assert all(k.instructions > 0 for k in arm_profile.kernels)
    assert arm_profile.cache_misses["l1d"] > 0
    assert arm_profile.estimated_ms == pytest.approx(
        sum(k.estimated_ms for k in arm_profile.kernels)
    )
    assert arm_profile.milliseconds is None
    assert arm_profile.byte_additions == 1.5e9 * 16


def test_kernels_take_no_less_than_their_floor_in_instructions(arm_profile):
    """One addition a lane: no kernel adds more bytes an instruction than a vector holds."""
    floors = [k for k in arm_profile.kernels if k.floor_instructions is not None]
    assert len(floors) > 10
    for kernel in floors:
        assert kernel.instructions > kernel.floor_instructions, kernel.name


def test_the_command_says_misses_and_calls_an_estimate_one(run_hqc, arm_artifact):
    done = run_hqc("profile", arm_artifact.folder, "--data", SAMPLE)
    assert "of l1d, " in done.stdout
    assert "ms an inference, estimated" in done.stdout


def test_the_command_and_its_recordings(run_hqc, host_artifact):
    done = run_hqc("profile", host_artifact.folder, "--rounds", 1)
    assert done.returncode == 0, done.stderr
    assert "ms an inference on host" in done.stdout
    memory = host_artifact.manifest["memory"]
    assert memory["code_bytes"] > 0
    assert f"bytes of code: {memory['code_bytes']:,}, of weights: " in done.stdout
    done = run_hqc("profile", host_artifact.folder, "--rounds", 1, "--data", SAMPLE, "--json")
    found = json.loads(done.stdout)
    assert {"target", "kernels", "milliseconds", "instructions", "energy"} <= set(found)
    assert found["memory"] == memory


def test_without_recordings_there_is_nothing_to_measure(tiny_model, run_hqc, tmp_path):
    hqc.compile(tiny_model, "host", tmp_path / "build")
    done = run_hqc("profile", "build")
    assert done.returncode == 2
    assert "there are no recordings" in done.stderr


def test_boards_without_an_operating_system_are_counted_too(tiny_model, tmp_path, rng):
    artifact = hqc.compile(tiny_model, "cortex-m55", tmp_path / "build")
    np.save(tmp_path / "frames.npy", rng.poisson(1.0, (2, 1, 1, 4, 4)).astype(np.float32))
    found = profile_artifact(artifact, HOROWITZ, data=tmp_path / "frames.npy")
    assert all(k.instructions > 0 for k in found.kernels)


def test_machines_that_nothing_emulates_are_refused(tiny_model, bare_target, run_hqc, tmp_path):
    hqc.compile(tiny_model, bare_target, tmp_path / "build")
    done = run_hqc("profile", "build", "--data", SAMPLE)
    assert done.returncode == 2
    assert "bare says no 'emulate'" in done.stderr
