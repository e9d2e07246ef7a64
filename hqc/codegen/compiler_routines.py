"""Calls of the compiler's own routines, replaced by calls of the model's."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import cast

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from hqc.codegen.interface import render
from hqc.codegen.toolchain import Toolchain

_PREFIX = "__"


def provided() -> set[str]:
    """The compiler's routines that `arithmetic.c.in` has its own of."""
    text = (resources.files("hqc.runtimes.c") / "arithmetic.c.in").read_text()
    return {_PREFIX + end for end in re.findall(r"\$\{name\}_(\w+)\(\w+ \w+", text)}


def take_over(objects: Sequence[str], name: str, toolchain: Toolchain, folder: Path) -> list[str]:
    """Let objects of a folder call routines of `name` in place of the compiler's.

    Returns the object that holds these; none where none is called.
    """
    names = {routine: f"{name}_{routine.removeprefix(_PREFIX)}" for routine in provided()}
    if not sum(rename(folder / made, names) for made in objects):
        return []
    source = folder / f"{name}_arithmetic.c"
    source.write_text(render("arithmetic.c.in", {"name": name}))
    made = toolchain.compile(source.name, folder)
    source.unlink()
    return [made]


def rename(path: Path, names: Mapping[str, str]) -> int:
    """Give undefined symbols of an ELF object, little-endian, other names; returns how many.

    New names are put behind the old table of strings, which moves to the file's end.
    """
    content = bytearray(path.read_bytes())
    if content[:4] != b"\x7fELF":
        return 0
    with path.open("rb") as file:
        elf = ELFFile(file)
        symbols = cast(SymbolTableSection, elf.get_section_by_name(".symtab"))
        wanted = [
            (symbols["sh_offset"] + i * symbols["sh_entsize"], names[symbol.name])
            for i, symbol in enumerate(symbols.iter_symbols())
            if symbol["st_shndx"] == "SHN_UNDEF" and symbol.name in names
        ]
        table, header = symbols["sh_link"], elf["e_shoff"] + symbols["sh_link"] * elf["e_shentsize"]
        strings = bytearray(elf.get_section(table).data())
        offset, size, form = (24, 32, "<Q") if elf.elfclass == 64 else (16, 20, "<I")
    for place, new in wanted:
        struct.pack_into("<I", content, place, len(strings))
        strings += new.encode() + b"\0"
    struct.pack_into(form, content, header + offset, len(content))
    struct.pack_into(form, content, header + size, len(strings))
    if wanted:
        path.write_bytes(content + strings)
    return len(wanted)
