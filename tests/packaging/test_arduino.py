"""The library of Arduino's: what the published specification asks (library-specification.md of
arduino-cli); its sketch, built with a stand-in for Arduino's core and run under QEMU."""

from __future__ import annotations

import re

import pytest

from hqc.codegen.toolchain import _ZIG
from hqc.packaging import package
from tests.packaging.ways import class_of_nothing, done

REQUIRED = """
name version author maintainer sentence paragraph category url architectures
""".split()  # noqa: SIM905
CATEGORIES = {
    *("Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing"),
    *("Data Storage", "Data Processing", "Other"),
}

HARD = "cortex-m4/fpv4-sp-d16-hard"


@pytest.mark.parametrize(
    ("target", "folders", "architectures"),
    [
        ("cortex-m4", {HARD}, "renesas_uno,stm32"),
        ("cortex-m0plus", {"cortex-m0plus"}, "samd,stm32"),
        ("rv32imc", {"esp32c3", "esp32c6", "esp32h2"}, "esp32"),
    ],
)
def test_properties_and_layout_are_as_specified(tiny, tmp_path, target, folders, architectures):
    package(tiny(target), "arduino", tmp_path / "tiny")
    lines = (tmp_path / "tiny" / "library.properties").read_text().splitlines()
    said = dict(line.split("=", 1) for line in lines)
    assert len(said) == len(lines)
    assert set(REQUIRED) <= set(said)
    assert all(said[field] for field in REQUIRED if field != "url")
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]*", said["name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", said["version"])
    assert said["category"] in CATEGORIES
    assert (said["precompiled"], said["ldflags"]) == ("true", "-ltiny")
    assert said["architectures"] == architectures
    source = tmp_path / "tiny" / "src"
    assert (source / said["includes"]).is_file()
    assert {str(p.parent.relative_to(source)) for p in source.rglob("libtiny.a")} == folders
    assert not [p for p in source.rglob("*") if p.suffix in (".c", ".cpp", ".S")]
    (sketch,) = (tmp_path / "tiny" / "examples").rglob("*.ino")
    assert sketch.stem == sketch.parent.name


def test_only_what_passes_floats_in_registers_lies_in_the_folder_of_that_abi(tiny, tmp_path):
    package(tiny("cortex-m4"), "arduino", tmp_path / "m4")
    said = done("readelf", "-A", tmp_path / "m4" / "src" / HARD / "libtiny.a", cwd=tmp_path)
    assert "Tag_ABI_VFP_args: VFP registers" in said
    package(tiny("cortex-m0plus"), "arduino", tmp_path / "m0")
    said = done("readelf", "-A", tmp_path / "m0/src/cortex-m0plus/libtiny.a", cwd=tmp_path)
    assert "Tag_ABI_VFP_args" not in said


CORE = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
struct { void begin(long) {}
         void println(const char *text) { puts(text); }
         void println(int32_t number) { printf("%ld\\n", (long)number); } } Serial;
static void delay(int) { exit(1); }
void setup();
void loop();
int main() { setup(); loop(); }
"""


def test_the_sketch_builds_and_runs(tiny, tmp_path):
    package(tiny("rv32imc"), "arduino", tmp_path / "tiny")
    (tmp_path / "Arduino.h").write_text(CORE)
    target = ("-target", "riscv32-linux-musl", "-mcpu=generic_rv32+m+a+c")
    flags = (
        "-x",
        "c++",
        "-fno-exceptions",
        "-Wall",
        "-Wextra",
        "-Itiny/src",
        "-include",
        "Arduino.h",
    )
    sketch = "tiny/examples/classify/classify.ino"
    done(*_ZIG, "c++", *target, *flags, "-c", sketch, "-o", "sketch.o", cwd=tmp_path)
    archive = ("-Ltiny/src/esp32c3", "-ltiny")
    done(*_ZIG, "cc", *target, "sketch.o", *archive, "-o", "sketch", cwd=tmp_path)
    said = done("qemu-riscv32", tmp_path / "sketch", cwd=tmp_path)
    assert said == f"{class_of_nothing(tiny('host'))}\n"
