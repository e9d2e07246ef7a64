"""A library of Arduino's, precompiled, with a sketch."""

from __future__ import annotations

from hqc.artifact import Artifact
from hqc.packaging.esp_idf import chips
from hqc.packaging.form import Contents, form
from hqc.targets import Target

_CORTEX = {
    "cortex-m0plus": ("samd,stm32", ()),
    "cortex-m3": ("sam,stm32", ()),
    "cortex-m4": ("renesas_uno,stm32", ("fpv4-sp-d16",)),
    "cortex-m7": ("stm32", ("fpv5-d16", "fpv4-sp-d16")),
    "cortex-m33": ("renesas_portenta,stm32", ("fpv5-sp-d16", "fpv4-sp-d16")),
}
"""Cores that Arduino's platforms have: those platforms, and what they call the cores' FPUs."""

_ESP32 = ("esp32c3", "esp32c6", "esp32h2")
"""Chips of `esp-idf` that Arduino's platform esp32 has."""


def _layout(target: Target) -> tuple[str, list[str]] | None:
    """The architectures, and the folders of `src` where their builds look for archives.

    Arduino looks in {build.mcu}/{build.fpu}-{build.float-abi} first. An archive that passes floats
    in registers lies nowhere else, so that boards of another ABI do not find it.
    """
    if target.is_bare and target.llvm["cpu"] in _CORTEX:
        core = target.llvm["cpu"]
        architectures, fpus = _CORTEX[core]
        hard = [f"{core}/{fpu}-hard" for fpu in fpus]
        return architectures, hard if target.has_floats else [core]
    found = [chip for chip in chips(target) if chip in _ESP32]
    return ("esp32", found) if found else None


def _refuse(artifact: Artifact) -> str | None:
    if _layout(artifact.target):
        return None
    return f"Arduino has no board that runs code for {artifact.target.name}"


@form("arduino", "a library of Arduino's, for Cortex-M and ESP32-C", _refuse, "arduino")
def write_library(contents: Contents) -> None:
    """Write the library."""
    architectures, folders = _layout(contents.artifact.target)
    contents.put_headers("src")
    for folder in folders:
        contents.put_archive(f"src/{folder}")
    contents.write("library.properties.in", "library.properties", architectures=architectures)
    contents.write("classify.ino.in", "examples/classify/classify.ino")
