"""The C compiler and archiver of a target."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from hqc.errors import ToolError
from hqc.targets import Target


def _zig_command() -> list[str]:
    """Zig itself, which its module would start Python once more to find; the module says that it
    is missing."""
    module = find_spec("ziglang")
    if module is None or module.origin is None:
        return [sys.executable, "-m", "ziglang"]
    return [str(Path(module.origin).with_name("zig"))]


_ZIG = _zig_command()
_FLAGS = ["-std=c99", "-O2", "-Wall", "-Wextra"]
_OBJECT_FLAGS = [
    *("-ffunction-sections", "-fdata-sections"),  # what a program does not call, it does not hold
    *("-fno-unwind-tables", "-fno-asynchronous-unwind-tables"),
    "-fno-stack-protector",  # its failure is a routine of the C library
    "-g0",  # no path of the folder that it is compiled in
]
_HALF_FLOATS = ".text.tvm.fp16.conv*"
"""Conversions of half floats, under the compiler's own names, that TVM adds to every object: a
linker would take them for the compiler's."""
_STACK_NOTE = ".note.GNU-stack"
"""Where one object has it, GNU's linker warns of each that has none, as GCC's for bare machines."""

_MODULE_STACK = 1 << 18
"""Bytes of a WebAssembly module's stack, first in its memory, so that it traps where it ends."""


def _call(command: Sequence[str], folder: Path) -> None:
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ToolError(
            f"cannot start {command[0]!r}: {error.strerror}",
            hint="hqc doctor lists what is missing",
        ) from None
    if result.returncode:
        shown = " ".join(shlex.quote(part) for part in command)
        detail = result.stderr.strip()[-2000:]
        raise ToolError(
            f"{shown}\nfailed with exit code {result.returncode}:\n{detail}",
            hint="choose another C compiler with --cc",
        )


def _zig(target: Sequence[str]) -> tuple[str, ...]:
    """zig cc for a triple and, optionally, a cpu."""
    triple, *cpu = target
    return (*_ZIG, "cc", "-target", triple, *(f"-mcpu={c}" for c in cpu))


@dataclass(frozen=True)
class Toolchain:
    """Compiles and archives C for one target, in the folder it is told."""

    compiler: tuple[str, ...]
    program_compiler: tuple[str, ...]
    board: str | None = None
    is_bare: bool = False

    @classmethod
    def of(cls, target: Target, cc: str | None = None) -> Toolchain:
        """`cc` if given; on the host $CC or cc; otherwise zig cc for the target's triple."""
        if not cc and target.is_host:
            cc = os.environ.get("CC") or shutil.which("cc") or shlex.join([*_ZIG, "cc"])
        if cc:
            return cls(tuple(shlex.split(cc)), tuple(shlex.split(cc)), None, target.is_bare)
        programs = _zig(target.program_compiler or target.compiler)
        return cls(_zig(target.compiler), programs, target.board, target.is_bare)

    @property
    def position(self) -> str:
        """A bare program lies where it was linked for, and has no table of global offsets."""
        return "-fno-pic" if self.is_bare else "-fPIC"

    def compile(self, source: str, folder: Path, flags: Sequence[str] = ()) -> str:
        """Compile a C or assembler file of the folder; return the object's name."""
        made = Path(source).with_suffix(".o").name
        given = [*_FLAGS, *_OBJECT_FLAGS, self.position, *flags] if source.endswith(".c") else []
        _call([*self.compiler, *given, "-c", source, "-o", made], folder)
        return made

    def join(self, parts: Sequence[str], made: str, folder: Path) -> None:
        """Make one object of several, which may be its parts' first; ELF, without what no program
        needs."""
        joined = f"{made}.joined"
        if (folder / parts[0]).read_bytes()[:4] == b"\x7fELF":
            sections = [_HALF_FLOATS, *([_STACK_NOTE] if self.is_bare else [])]
            text = " ".join(f"*({s})" for s in sections)
            script = folder / f"{made}.ld"
            script.write_text(f"SECTIONS {{ /DISCARD/ : {{ {text} }} }}\n")
            _call([*_ZIG, "ld.lld", "-r", *parts, "-T", script.name, "-o", joined], folder)
            script.unlink()
        else:
            _call([*_ZIG, "wasm-ld", "-r", *parts, "-o", joined], folder)
        for part in parts:
            (folder / part).unlink()
        (folder / joined).replace(folder / made)

    def archive(self, objects: Sequence[str], library: str, folder: Path) -> None:
        """Put objects into a static library, without dates: equal inputs give equal files."""
        _call([*_ZIG, "ar", "rcsD", library, *objects], folder)

    def share(
        self, objects: Sequence[str], library: str, folder: Path, flags: Sequence[str] = ()
    ) -> None:
        """Link a shared library."""
        _call([*self.compiler, "-shared", "-o", library, *objects, *flags], folder)

    def module(self, sources: Sequence[str], module: str, folder: Path) -> None:
        """Link a WebAssembly module that imports nothing and exports what its sources say."""
        stack = f"-Wl,-z,stack-size={_MODULE_STACK}"
        command = [*self.compiler, *_FLAGS, self.position, *sources, "-o", module]
        _call([*command, "-nostartfiles", "-Wl,--no-entry", stack, "-s"], folder)

    def program(
        self, sources: Sequence[str], program: str, folder: Path, flags: Sequence[str] = ()
    ) -> None:
        """Link a program of C files, objects and libraries.

        It is static where it is not for the host, and without an operating system for a board.
        """
        command = [*self.program_compiler, *_FLAGS, self.position, *flags, *sources, "-o", program]
        if not self.board:
            _call(command + ["-static"] * ("-target" in command), folder)
            return
        bare = resources.files("hqc.runtimes.bare")
        layout = folder / f"{program}.ld"
        layout.write_text("".join((bare / f"{s}.ld").read_text() for s in (self.board, "sections")))
        command += ["-ffreestanding", "-isystem", str(bare), str(bare / "semihosting.c")]
        _call([*command, "-T", layout.name, "-Wl,-e,start"], folder)
        layout.unlink()
