"""Programs of a compiled model that are told before each of its kernels."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from hqc.artifact import Artifact
from hqc.codegen.compiler_routines import take_over
from hqc.codegen.interface import THREAD_FILES
from hqc.codegen.toolchain import Toolchain


def link_traced(
    toolchain: Toolchain,
    name: str,
    sources: Sequence[str],
    program: str,
    folder: Path,
    flags: Sequence[str] = (),
) -> Path:
    """Link C files with NAME.c, compiled with HQC_TRACE, and the rest of libNAME.a, in its folder.

    They define NAME_trace, which is called with a kernel's index before each kernel, and with how
    many there are after the last.
    """
    entry = toolchain.compile(f"{name}.c", folder, ["-DHQC_TRACE", *flags])
    made = [entry, *take_over([entry], name, toolchain, folder)]
    toolchain.program([*sources, *made, f"lib{name}.a"], program, folder, flags)
    for file in made:
        (folder / file).unlink()
    return folder / program


def copy_library(artifact: Artifact, folder: Path) -> None:
    """Copy what `link_traced` links to another folder."""
    files = [f"{artifact.name}.c", f"{artifact.name}.h", "hqc.h", f"lib{artifact.name}.a"]
    for file in [*files, *(THREAD_FILES if artifact.manifest["threads"] > 1 else ())]:
        shutil.copy(artifact.folder / file, folder)
