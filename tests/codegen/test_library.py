"""The C library: what it needs, what it weighs, and what it says of misuse."""

from __future__ import annotations

import json
import re
import subprocess

import numpy as np
import pytest

import hqc
from hqc.codegen.toolchain import Toolchain
from hqc.passes import DEFAULT
from hqc.targets import load_target
from tests.conftest import MODEL, NMNIST, ROOT


def symbols(library, *flags):
    done = subprocess.run(["nm", *flags, library], capture_output=True, text=True, check=True)
    return {line.split()[-1] for line in done.stdout.splitlines() if len(line.split()) > 1}


@pytest.fixture(params=["host_artifact", "arm_artifact"])
def artifact(request):
    return request.getfixturevalue(request.param)


def test_needs_nothing_but_memset_and_memcpy(artifact):
    library = artifact.folder / "libnmnist.a"
    undefined = symbols(library, "-u") - symbols(library, "--defined-only")
    linkers_own = {"_GLOBAL_OFFSET_TABLE_"} if artifact.manifest["target"] == "host" else set()
    assert undefined <= {"memset", "memcpy"} | linkers_own


def test_every_global_symbol_carries_the_models_name(artifact):
    strong = symbols(artifact.folder / "libnmnist.a", "--defined-only", "-g")
    foreign = {s for s in strong if not s.startswith("nmnist_")}
    assert not foreign


def test_weights_take_their_bits_and_little_more(artifact):
    layers = artifact.manifest["layers"]
    promised = sum(layer["weights"] * layer["bits"] for layer in layers) / 8
    assert promised <= artifact.manifest["memory"]["weight_bytes"] <= 1.10 * promised
    assert artifact.manifest["average_bits"] <= 3.7
    assert sum(layer["weights"] for layer in layers) > 240_000


def test_the_entry_code_is_small(artifact):
    done = subprocess.run(
        ["size", artifact.folder / "libnmnist.a"], capture_output=True, text=True, check=True
    )
    entry = next(line for line in done.stdout.splitlines() if "nmnist.o" in line.split())
    assert int(entry.split()[0]) < 8 * 1024


def test_header_and_manifest_agree(artifact):
    header = (artifact.folder / "nmnist.h").read_text()
    memory = artifact.manifest["memory"]
    assert f"NMNIST_ARENA_BYTES {memory['arena_bytes']}u" in header
    assert f"NMNIST_STREAM_ARENA_BYTES {memory['stream_arena_bytes']}u" in header
    assert "NMNIST_TIME_STEPS 8" in header


def test_artifacts_are_reproducible(host_artifact, nothing_kept):
    folder = host_artifact.folder.with_name("again")  # as far from the recordings
    again = hqc.compile(MODEL, "host", folder, bench=True)
    for name in ("nmnist.h", "nmnist.hqt", "nmnist.json", "nmnist.onnx", "libnmnist.a"):
        assert (again.folder / name).read_bytes() == (host_artifact.folder / name).read_bytes()


def test_artifact_holds_what_a_build_system_needs_and_no_more(host_artifact):
    assert {p.name for p in host_artifact.folder.iterdir()} == {
        "hqc.h", "hqc.hpp", "hqc.json", "libnmnist.a", "nmnist.c", "nmnist.h", "nmnist.hpp",
        "nmnist.hqt", "nmnist.json", "nmnist.onnx", "nmnist.pc", "nmnist.so",
        "nmnistConfig.cmake", "nmnistConfigVersion.cmake", "nmnist_bench", "nmnist_runner.c",
    }  # fmt: skip


_MISUSE = """
#include <stdio.h>
#include <string.h>
#include "nmnist.h"
HQC_ALIGNED static uint8_t memory[NMNIST_STREAM_ARENA_BYTES + 1];
static float frames[NMNIST_INPUT_SIZE], logits[NMNIST_OUTPUT_SIZE];
static const hqc_event beyond = {0, NMNIST_WIDTH, 0, 0};
#define SHOW(call) printf("%s\\n", hqc_status_text(call))
int main(void) {
    nmnist_t model;
    int32_t label;
    int t;
    memset(&model, 0xA5, sizeof model); /* as memory is before anything is written to it */
    SHOW(nmnist_run(&model, frames, logits));
    SHOW(nmnist_init(&model, memory, NMNIST_ARENA_BYTES));
    SHOW(nmnist_init(&model, NULL, sizeof memory));
    SHOW(nmnist_run(&model, frames, logits));
    SHOW(nmnist_init(&model, memory, NMNIST_ARENA_BYTES - 1));
    SHOW(nmnist_run(&model, frames, logits));
    SHOW(nmnist_init(&model, memory + 1, NMNIST_ARENA_BYTES));
    SHOW(nmnist_init(&model, memory, NMNIST_ARENA_BYTES));
    SHOW(nmnist_classify(&model, &label));
    SHOW(nmnist_run(&model, NULL, logits));
    SHOW(nmnist_run(&model, frames, logits));
    SHOW(nmnist_classify(&model, &label));
    SHOW(nmnist_reset(&model));
    SHOW(nmnist_init(&model, memory, NMNIST_STREAM_ARENA_BYTES));
    SHOW(nmnist_step(&model, frames));
    SHOW(nmnist_reset(&model));
    SHOW(nmnist_read(&model, logits));
    for (t = 0; t < NMNIST_TIME_STEPS; t++) nmnist_step(&model, frames);
    SHOW(nmnist_read(&model, logits));
    SHOW(nmnist_step(&model, frames));
    SHOW(nmnist_run_events(&model, &beyond, 1, NULL));
    SHOW(nmnist_classify(&model, &label));
    return 0;
}
"""


def test_every_misuse_has_a_status_with_a_text(host_artifact, tmp_path):
    (tmp_path / "misuse.c").write_text(_MISUSE)
    compiler = Toolchain.of(load_target("host")).compiler
    command = [*compiler, "-std=c99", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]
    command += ["misuse.c", f"-I{host_artifact.folder}", str(host_artifact.folder / "libnmnist.a")]
    subprocess.run([*command, "-o", "misuse"], cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "misuse"], capture_output=True, text=True, check=True)
    not_ready = "call init first, reset before the first step, and run or read before classify"
    assert done.stdout.splitlines() == [
        not_ready,
        "ok",
        "a pointer is NULL",
        not_ready,
        "the arena is smaller than the header says",
        not_ready,
        "the arena is not aligned: declare it HQC_ALIGNED",
        "ok",
        not_ready,
        "a pointer is NULL",
        "ok",
        "ok",
        "the arena is smaller than the header says",
        "ok",
        not_ready,
        "ok",
        not_ready,
        "ok",
        "all time steps are done: read, then reset",
        "an event lies outside the model's sensor, or beyond 32 bits of time",
        not_ready,
    ]


def test_weights_of_another_model_are_noticed(host_artifact, tmp_path):
    source = (host_artifact.folder / "nmnist.c").read_text()
    digits = re.search(r"WEIGHTS_HASH (\d+)u", source)[1]
    (tmp_path / "nmnist.c").write_text(source.replace(digits, str((int(digits) + 1) % 2**32)))
    (tmp_path / "main.c").write_text(_MISUSE)
    library = host_artifact.folder / "libnmnist.a"
    command = [*Toolchain.of(load_target("host")).compiler, "main.c", "nmnist.c"]
    subprocess.run(
        [*command, f"-I{host_artifact.folder}", library, "-o", "main"], cwd=tmp_path, check=True
    )
    done = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True)
    assert "the weights are not those of this model" in done.stdout


def build_embed(folder, prefix, *options):
    configure = ["cmake", "-S", ROOT / "examples" / "embed_c", "-B", folder]
    subprocess.run([*configure, f"-DCMAKE_PREFIX_PATH={prefix}", *options], check=True)
    subprocess.run(["cmake", "--build", folder], check=True)
    return folder / "embed_c"


@pytest.mark.parametrize(
    ("fixture", "options", "emulator"),
    [
        ("host_artifact", [], []),
        ("arm_artifact", ["-DCMAKE_TOOLCHAIN_FILE=arm64.cmake"], ["qemu-aarch64"]),
    ],
)
def test_the_embedding_example_classifies(fixture, options, emulator, request, tmp_path):
    artifact = request.getfixturevalue(fixture)
    program = build_embed(tmp_path / "embed", artifact.folder, *options)
    for digit, file in ((3, "60031"), (7, "60001")):
        recording = NMNIST / "sample" / str(digit) / f"{file}.bin"
        if not recording.exists():
            recording = sorted((NMNIST / "sample" / str(digit)).glob("*.bin"))[1]
        done = subprocess.run(
            [*emulator, program, recording], capture_output=True, text=True, check=True
        )
        assert done.stdout == f"{digit}\n"


def test_memory_planned_for_other_vectors_is_refused(tmp_path):
    for target, bits in (("rv64gc", 128), ("arm-a72", 0)):
        passes = DEFAULT.replace("plan-memory", f"plan-memory{{vector_bits={bits}}}")
        with pytest.raises(hqc.UserError, match="planned for a target with other vectors"):
            hqc.compile(MODEL, target, tmp_path / "build", passes=passes)


def test_pkg_config_finds_the_library(host_artifact):
    done = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "nmnist"],
        env={"PKG_CONFIG_PATH": str(host_artifact.folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    folder = host_artifact.folder
    assert done.stdout.split() == [f"-I{folder}", f"-L{folder}", "-lnmnist"]


def test_artifacts_run_in_this_process_and_can_be_opened_again(host_artifact, recordings):
    opened = hqc.Artifact.open(host_artifact.folder)
    logits = opened.run(recordings[0].frames)
    assert logits.shape == (1, 10)
    np.testing.assert_array_equal(logits, host_artifact.run(recordings[0].frames))
    with pytest.raises(hqc.UserError, match=r"frames \[3\] of float32 are not"):
        opened.run(np.zeros(3, np.float32))


def test_folders_that_are_no_artifacts_are_refused(tmp_path, arm_artifact):
    with pytest.raises(hqc.UserError, match="is not a compiled model"):
        hqc.Artifact.open(tmp_path)
    (tmp_path / "hqc.json").write_text(json.dumps({"model": 3}))
    with pytest.raises(hqc.UserError, match="is not a compiled model"):
        hqc.Artifact.open(tmp_path)
    with pytest.raises(hqc.UserError, match="is compiled for arm-a72"):
        arm_artifact.run(np.zeros((8, 1, 2, 34, 34), np.float32))
