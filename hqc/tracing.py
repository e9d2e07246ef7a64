"""Programs of a compiled model that are told before each of its kernels."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from hqc.artifact import Artifact
from hqc.codegen.toolchain import Toolchain


def link_traced(
    artifact: Artifact,
    sources: Sequence[str],
    program: str,
    folder: Path,
    *,
    flags: Sequence[str] = (),
    cc: str | None = None,
) -> Path:
    """Link C files that lie in the folder with the library's parts, compiled with HQC_TRACE.

    They define NAME_trace, which is called with a kernel's index before each kernel, and with how
    many there are after the last.
    """
    name = artifact.name
    for suffix in (f"{name}.c", f"{name}.h", "hqc.h", f"lib{name}.a"):
        shutil.copy(artifact.folder / suffix, folder)
    toolchain = Toolchain.of(artifact.target, cc)
    objects = [f"{name}_kernels.o", f"{name}_weights.o"]
    toolchain.unpack(f"lib{name}.a", objects, folder)
    toolchain.program([*sources, f"{name}.c", *objects], program, folder, ["-DHQC_TRACE", *flags])
    return folder / program
