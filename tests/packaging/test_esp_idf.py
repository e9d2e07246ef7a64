"""The component of ESP-IDF: its manifest; a program built with a stand-in for IDF's CMake functions
and run under QEMU."""

from __future__ import annotations

import pytest
import yaml

from hqc.packaging import package
from hqc.packaging.esp_idf import chips
from hqc.targets import load_target
from hqc.version import VERSION
from tests.packaging.ways import class_of_nothing, compiler_of, done

STAND_IN = """
cmake_minimum_required(VERSION 3.16)
project(stranger C)
function(idf_component_register)
  cmake_parse_arguments(_ "" "" "SRCS;INCLUDE_DIRS;REQUIRES" ${ARGN})
  add_library(${COMPONENT_LIB} INTERFACE)
  foreach(folder ${__INCLUDE_DIRS})
    target_include_directories(${COMPONENT_LIB} INTERFACE ${CMAKE_CURRENT_LIST_DIR}/${folder})
  endforeach()
endfunction()
set(COMPONENT_LIB __idf_tiny)
add_subdirectory(components/tiny)
add_executable(app main.c)
target_link_libraries(app PRIVATE __idf_tiny)
"""

PROGRAM = """
#include <stdio.h>
#include "tiny.h"
HQC_ALIGNED static uint8_t arena[TINY_ARENA_BYTES];
static float frames[TINY_INPUT_SIZE];
int main(void)
{
    tiny_t model;
    int32_t label;
    if (tiny_init(&model, arena, sizeof arena) || tiny_run(&model, frames, NULL)) return 1;
    if (tiny_classify(&model, &label)) return 2;
    return printf("%d\\n", (int)label) < 0;
}
"""


def test_the_component_builds_and_runs(tiny, tmp_path):
    artifact = tiny("rv32imc")
    package(artifact, "esp-idf", tmp_path / "components" / "tiny")
    (tmp_path / "CMakeLists.txt").write_text(STAND_IN)
    (tmp_path / "main.c").write_text(PROGRAM)
    compiler = compiler_of(artifact.target, tmp_path / "cc")
    done(
        *("cmake", "-S", ".", "-B", "out", f"-DCMAKE_C_COMPILER={compiler}"),
        *("-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=riscv32"),
        cwd=tmp_path,
    )
    done("cmake", "--build", "out", cwd=tmp_path)
    said = done("qemu-riscv32", tmp_path / "out" / "app", cwd=tmp_path)
    assert said == f"{class_of_nothing(tiny('host'))}\n"


def test_the_manifest_names_the_chips(tiny, tmp_path):
    package(tiny("rv32imc"), "esp-idf", tmp_path / "tiny")
    said = yaml.safe_load((tmp_path / "tiny" / "idf_component.yml").read_text())
    assert set(said) == {"version", "description", "targets"}
    assert said["version"] == VERSION
    assert said["targets"] == ["esp32c2", "esp32c3", "esp32c6", "esp32h2"]


@pytest.mark.parametrize(
    ("features", "abi", "found"),
    [
        ("+m,+a,+c", "ilp32", ["esp32c6", "esp32h2"]),
        ("+m,+c,+f", "ilp32", []),
        ("+m,+c", "ilp32f", []),
    ],
)
def test_chips_are_those_that_have_what_the_code_uses(tmp_path, features, abi, found):
    path = tmp_path / "mine.hqt"
    path.write_text(
        "target mine extends rv32imc {\n"
        f'  llvm triple "riscv32-unknown-elf", cpu "generic-rv32", abi "{abi}", '
        f'features "{features}"\n}}\n'
    )
    assert chips(load_target(str(path))) == found
