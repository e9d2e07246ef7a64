"""A component of ESP-IDF, for Espressif's chips of 32-bit RISC-V."""

from __future__ import annotations

from hqc.artifact import Artifact
from hqc.packaging.form import Contents, form
from hqc.targets import Target

_CHIPS = {"esp32c2": "imc", "esp32c3": "imc", "esp32c6": "imac", "esp32h2": "imac"}
"""The instructions of chips, all of which pass floats in integer registers."""


def chips(target: Target) -> list[str]:
    """Espressif's names of the chips that a target's code runs on."""
    llvm = target.llvm
    if not (target.is_bare and llvm["triple"].startswith("riscv32") and llvm.get("abi") == "ilp32"):
        return []
    used = {f.removeprefix("+") for f in llvm.get("features", "").split(",") if f}
    return [chip for chip, has in _CHIPS.items() if used <= set(has)]


def _refuse(artifact: Artifact) -> str | None:
    if chips(artifact.target):
        return None
    return f"{artifact.target.name} is none of {', '.join(_CHIPS)}: compile with --target esp32-c3"


@form("esp-idf", "a component of ESP-IDF, for ESP32-C and ESP32-H (RISC-V)", _refuse, "esp_idf")
def write_component(contents: Contents) -> None:
    """Write the component, which is called as its folder is."""
    contents.put_headers("include")
    contents.put_archive("lib")
    contents.write("CMakeLists.txt.in", "CMakeLists.txt")
    targets = "\n".join(f"  - {chip}" for chip in chips(contents.artifact.target))
    contents.write("idf_component.yml.in", "idf_component.yml", targets=targets)
