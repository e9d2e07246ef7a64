"""Targets: what files mean, what they inherit, and that each compiles."""

from __future__ import annotations

import subprocess

import pytest
import torch

import hqc
from hqc.errors import ToolError, UserError
from hqc.frontend.export import export
from hqc.models.spike_driven import SpikeDrivenTransformer
from hqc.quantize import apply_recipe
from hqc.targets import Cache, load_target, target_names
from tests.conftest import MODEL

BOARD = """
# A board of one's own.
target myboard extends arm-a72 {
  about "My board"
  cache l2 512 KiB
  clock 1.8 GHz
}
"""

MACHINES = {
    "arm-a53": "AArch64",
    "arm-a55": "AArch64",
    "arm-a72": "AArch64",
    "arm-a76": "AArch64",
    "arm-a78": "AArch64",
    "arm-x1": "AArch64",
    "armv7-a7": "ARM",
    "armv8-a": "AArch64",
    "cortex-m0plus": "ARM",
    "cortex-m3": "ARM",
    "cortex-m33": "ARM",
    "cortex-m4": "ARM",
    "cortex-m7": "ARM",
    "cortex-m55": "ARM",
    "esp32-c3": "RISC-V",
    "host": "",
    "rv32imc": "RISC-V",
    "rv64gc": "RISC-V",
    "rv64gcv": "RISC-V",
    "wasm32": "WebAssembly",
    "wasm32-plain": "WebAssembly",
}


def test_the_shipped_targets_are_those_tested_here():
    assert set(MACHINES) == set(target_names())


@pytest.mark.parametrize("name", MACHINES)
def test_every_shipped_target_compiles_to_its_machine(name, tiny_model, tmp_path):
    target = load_target(name)
    assert target.about
    artifact = hqc.compile(tiny_model, name, tmp_path / "build", name="tiny")
    machines = machines_of(artifact.folder / "libtiny.a")
    assert len(machines) == (4 if name == "cortex-m0plus" else 3)
    assert all(MACHINES[name] in machine for machine in machines)


def machines_of(library):
    """The machine of every object in a static library."""
    if b"\0asm" in library.read_bytes():  # which readelf does not read
        return ["WebAssembly"] * library.read_bytes().count(b"\0asm\1\0\0\0")
    header = subprocess.run(
        ["readelf", "-h", library], capture_output=True, text=True, check=True
    ).stdout
    return [line.split(":")[1].strip() for line in header.splitlines() if "Machine:" in line]


@pytest.fixture(scope="module")
def mixed_model(tmp_path_factory):
    """Membrane shortcuts, masks, and every kind of quantizer that a search can choose."""
    torch.manual_seed(0)
    model = SpikeDrivenTransformer(2, 3, dim=16, depth=1, ratio=2, pool=(True, False, False, True))
    recipe = {"*.q.*": "fp32", "*.k.*": "16u", "*.v.*": "12u", "*mlp*": "4l", "head*": "8u"}
    apply_recipe(model, recipe | {"*spiking*": "3u", "*last*": "2l", "*": "2u"})
    path = tmp_path_factory.mktemp("mixed") / "mixed.onnx"
    export(model, torch.zeros(2, 1, 2, 8, 8), path)
    return path


@pytest.mark.parametrize("name", ["armv7-a7", "cortex-m55", "rv32imc", "rv64gcv"])
def test_a_searched_network_compiles_for_other_instruction_sets(name, mixed_model, tmp_path):
    artifact = hqc.compile(mixed_model, name, tmp_path / "build", name="mixed")
    assert (artifact.folder / "libmixed.a").stat().st_size > 0


def test_a_target_extends_another(tmp_path):
    (tmp_path / "myboard.hqt").write_text(BOARD)
    board, base = load_target(str(tmp_path / "myboard.hqt")), load_target("arm-a72")
    assert board.about == "My board"
    assert (board.caches, board.clock) == ({"l2": Cache(512 * 1024)}, 1.8e9)
    assert (board.llvm, board.compiler, board.emulate) == (base.llvm, base.compiler, base.emulate)


def test_data_caches_are_those_known_in_full(tmp_path):
    known = {"l1d": Cache(32 * 1024, 2, "lru"), "l2": Cache(1024 * 1024, 16, "lru")}
    assert load_target("arm-a72").data_caches == known
    said = "l1d 16 KiB 4 ways random, l1i 16 KiB, l2 1 MiB, l3 2 MiB 16 ways lru, line 32 B"
    (tmp_path / "x.hqt").write_text(f"target x extends arm-a72 {{ cache {said} }}")
    target = load_target(str(tmp_path / "x.hqt"))
    assert target.data_caches == {"l1d": Cache(16 * 1024, 4, "random")}
    assert (target.cache_line, target.caches["l1i"]) == (32, Cache(16 * 1024))


def test_cycles_are_those_of_an_instruction_and_of_misses(tmp_path):
    said = 'cycles 0.5 instruction from "a manual",\n 10 l1d miss from "assumed"'
    (tmp_path / "x.hqt").write_text(f"target x extends arm-a72 {{ {said} }}")
    assert load_target(str(tmp_path / "x.hqt")).cycles == {"instruction": 0.5, "l1d": 10.0}


def test_adding_a_target_is_one_file_and_no_python(tiny_model, tmp_path, run_hqc):
    (tmp_path / "myboard.hqt").write_text(BOARD)
    done = run_hqc("compile", tiny_model, "--target", "./myboard.hqt", "--name", "tiny")
    assert done.returncode == 0, done.stderr
    assert "build/libtiny.a for myboard" in done.stdout
    assert (tmp_path / "build" / "libtiny.a").exists()


def test_a_machine_that_nothing_emulates_is_compiled_for_and_not_verified(bare_target):
    with pytest.raises(ToolError, match="bare says no 'emulate'"):
        hqc.verify(MODEL, bare_target)


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(UserError, match=r"no target 'rv64g'; did you mean 'rv64gc'\?") as error:
        load_target("rv64g")
    assert "arm-a72, arm-a76" in error.value.hint


def test_files_that_are_no_text(tmp_path):
    (tmp_path / "x.hqt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="it is not text"):
        load_target(str(tmp_path / "x.hqt"))


def test_a_file_without_a_target(tmp_path):
    (tmp_path / "x.hqt").write_text("energy e { storage = weights * weight_bits energy = 1 pJ }")
    with pytest.raises(UserError, match="defines no target"):
        load_target(str(tmp_path / "x.hqt"))
