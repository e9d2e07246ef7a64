"""A module of Zephyr: the archive, Kconfig that says which cores it is for, a sample."""

from __future__ import annotations

from hqc.artifact import Artifact
from hqc.packaging.form import Contents, form
from hqc.targets import Target


def _depends(target: Target) -> str | None:
    """The Kconfig expression of the cores that a target's code runs on; None for none of Zephyr's.

    An archive whose floats are passed in registers links only with an application of that ABI.
    """
    llvm = target.llvm
    if not target.is_bare:
        return None
    if llvm["cpu"].startswith("cortex-m"):
        core = llvm["cpu"].upper().replace("-", "_")
        floats = "FPU && FP_HARDABI" if target.has_floats else "!FP_HARDABI"
        vectors = " && ARMV8_1_M_MVEI && ARMV8_1_M_MVEF" if target.vector_bits else ""
        return f"CPU_{core} && {floats}{vectors}"
    if llvm["triple"].startswith("riscv32") and llvm.get("abi") == "ilp32":
        features = (f.removeprefix("+").upper() for f in llvm.get("features", "").split(",") if f)
        return " && ".join(["RISCV_ISA_RV32I", *(f"RISCV_ISA_EXT_{f}" for f in features), "!FPU"])
    return None


def _refuse(artifact: Artifact) -> str | None:
    if _depends(artifact.target):
        return None
    return f"{artifact.target.name} is no microcontroller (Cortex-M, 32-bit RISC-V) of Zephyr's"


@form("zephyr", "a module of Zephyr, for Cortex-M and 32-bit RISC-V", _refuse, "zephyr")
def write_module(contents: Contents) -> None:
    """Write the module."""
    contents.put_headers("include")
    contents.put_archive("lib")
    for template, file in (
        ("module.yml.in", "zephyr/module.yml"),
        ("CMakeLists.txt.in", "zephyr/CMakeLists.txt"),
        ("sample.cmake.in", "samples/classify/CMakeLists.txt"),
        ("prj.conf.in", "samples/classify/prj.conf"),
        ("sample.yaml.in", "samples/classify/sample.yaml"),
        ("main.c.in", "samples/classify/src/main.c"),
    ):
        contents.write(template, file)
    contents.write("Kconfig.in", "zephyr/Kconfig", depends=_depends(contents.artifact.target))
