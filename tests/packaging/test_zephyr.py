"""The module of Zephyr: what Zephyr's scripts ask of one; its sample, built with a stand-in for
Zephyr's CMake functions and run under QEMU."""

from __future__ import annotations

import pytest
import yaml

from hqc.packaging import package
from tests.packaging.ways import class_of_nothing, compiler_of, done

STAND_IN = """
project(Zephyr-Kernel C)
file(STRINGS ${CMAKE_CURRENT_SOURCE_DIR}/prj.conf settings)
foreach(setting ${settings})
  string(REPLACE "=" ";" setting ${setting})
  list(GET setting 0 name)
  list(GET setting 1 value)
  set(${name} ${value})
endforeach()
add_library(zephyr_interface INTERFACE)
function(zephyr_include_directories)
  target_include_directories(zephyr_interface INTERFACE ${ARGV})
endfunction()
function(zephyr_library_import name path)
  add_library(${name} STATIC IMPORTED GLOBAL)
  set_target_properties(${name} PROPERTIES IMPORTED_LOCATION ${path})
  set_property(GLOBAL APPEND PROPERTY ZEPHYR_LIBS ${name})
endfunction()
add_subdirectory(${EXTRA_ZEPHYR_MODULES}/zephyr module)
get_property(libraries GLOBAL PROPERTY ZEPHYR_LIBS)
add_executable(app)
target_include_directories(app PRIVATE ${Zephyr_DIR}/include)
target_link_libraries(app PRIVATE zephyr_interface
                      -Wl,--whole-archive ${libraries} -Wl,--no-whole-archive)
"""


@pytest.fixture(scope="module", params=["cortex-m4", "cortex-m0plus", "rv32imc"])
def module(request, tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("zephyr") / "module"
    package(tiny(request.param), "zephyr", folder)
    return request.param, folder


def test_module_yml_names_what_is_there(module):
    """As Zephyr's scripts/zephyr_module.py asks; it has the names of all that may be said."""
    _, folder = module
    said = yaml.safe_load((folder / "zephyr" / "module.yml").read_text())
    assert set(said) == {"name", "build", "samples"}
    assert said["name"] == "tiny"
    assert set(said["build"]) == {"cmake", "kconfig"}
    assert (folder / said["build"]["cmake"] / "CMakeLists.txt").is_file()
    assert (folder / said["build"]["kconfig"]).is_file()
    for sample in said["samples"]:
        described = yaml.safe_load((folder / sample / "sample.yaml").read_text())
        assert set(described) == {"sample", "tests"}
        assert (folder / sample / "CMakeLists.txt").is_file()


SYMBOLS = {
    "cortex-m4": ("CPU_CORTEX_M4", "FPU", "FP_HARDABI"),
    "cortex-m0plus": ("CPU_CORTEX_M0PLUS",),
    "rv32imc": ("RISCV_ISA_RV32I", "RISCV_ISA_EXT_M", "RISCV_ISA_EXT_C"),
}
"""What Zephyr's own Kconfig says of boards with these cores."""


def test_kconfig_offers_it_to_the_cores_that_it_is_for_alone(module, tmp_path):
    kconfiglib = pytest.importorskip("kconfiglib")
    target, folder = module
    assert folder.is_dir()
    known = sorted({symbol for symbols in SYMBOLS.values() for symbol in symbols})
    text = "".join(f'config {symbol}\n\tbool "{symbol}"\n' for symbol in known)
    (tmp_path / "Kconfig").write_text(f'{text}source "{folder}/zephyr/Kconfig"\n')
    for machine, symbols in SYMBOLS.items():
        configuration = kconfiglib.Kconfig(str(tmp_path / "Kconfig"), warn_to_stderr=False)
        assert configuration.warnings == []
        for symbol in symbols:
            configuration.syms[symbol].set_value("y")
        network = configuration.syms["HQC_TINY"]
        network.set_value("y")
        assert (network.str_value == "y") == (machine == target)


def test_a_core_of_another_float_abi_is_not_offered_it(module, tmp_path):
    kconfiglib = pytest.importorskip("kconfiglib")
    target, folder = module
    text = "".join(f'config {s}\n\tbool "{s}"\n' for s in {*SYMBOLS[target], "FP_HARDABI", "FPU"})
    (tmp_path / "Kconfig").write_text(f'{text}source "{folder}/zephyr/Kconfig"\n')
    configuration = kconfiglib.Kconfig(str(tmp_path / "Kconfig"), warn_to_stderr=False)
    for symbol in SYMBOLS[target]:
        configuration.syms[symbol].set_value("y")
    for symbol in ("FP_HARDABI", "FPU"):
        configuration.syms[symbol].set_value("n" if target == "cortex-m4" else "y")
    configuration.syms["HQC_TINY"].set_value("y")
    assert configuration.syms["HQC_TINY"].str_value == "n"


def test_the_sample_builds_and_runs(tiny, tmp_path):
    artifact = tiny("rv32imc")
    package(artifact, "zephyr", tmp_path / "module")
    stand_in = tmp_path / "stand-in"
    (stand_in / "include" / "zephyr" / "sys").mkdir(parents=True)
    (stand_in / "ZephyrConfig.cmake").write_text(STAND_IN)
    printk = stand_in / "include" / "zephyr" / "sys" / "printk.h"
    printk.write_text("#include <stdio.h>\n#define printk printf\n")
    compiler = compiler_of(artifact.target, tmp_path / "cc")
    done(
        *("cmake", "-S", tmp_path / "module" / "samples" / "classify", "-B", "out"),
        *(f"-DZephyr_DIR={stand_in}", f"-DEXTRA_ZEPHYR_MODULES={tmp_path / 'module'}"),
        *(f"-DCMAKE_C_COMPILER={compiler}", "-DCMAKE_C_FLAGS=-Wall -Wextra -Werror"),
        *("-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=riscv32"),
        cwd=tmp_path,
    )
    done("cmake", "--build", "out", cwd=tmp_path)
    said = done("qemu-riscv32", tmp_path / "out" / "app", cwd=tmp_path)
    assert said == f"class {class_of_nothing(tiny('host'))}\n"
