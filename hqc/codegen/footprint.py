"""What compiled objects take: flash, and at most how much stack, read off their machine code.

A function's frame is what all instructions together that lower the stack pointer lower it by: they
run once a call, since compiled code keeps its frame for the whole of a call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import capstone as cs
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Symbol, SymbolTableSection

_CALLS_DEEP = 4
"""Functions of the entry file that may be active at once, above one kernel."""

_ALIGNED = 64
"""Bytes that a function may leave free to align its frame."""


@dataclass(frozen=True)
class Footprint:
    """Bytes of code and its constants, of weights, and a bound of the stack.

    0 where they are not known: objects that are not ELF are not read.
    """

    code_bytes: int = 0
    weight_bytes: int = 0
    stack_bytes: int = 0

    @classmethod
    def of(cls, entry: Path, called: Sequence[Path], weight_bytes: int) -> Footprint:
        """Of a library's object of entries, and of those of kernels and what kernels call."""
        if any(o.read_bytes()[:4] != b"\x7fELF" for o in (entry, *called)):
            return cls(weight_bytes=weight_bytes)
        code = sum(map(_allocated, (entry, *called)))
        deepest = sum(max(frames(o).values(), default=0) for o in called)
        chain = sum(sorted(frames(entry).values())[-_CALLS_DEEP:])
        return cls(code, weight_bytes, deepest + chain)

    def values(self) -> dict[str, int]:
        """What the templates say of it."""
        return vars(self)


def _allocated(path: Path) -> int:
    """Bytes of an object that end in flash."""
    with path.open("rb") as file:
        sections = [
            s
            for s in ELFFile(file).iter_sections()
            if s["sh_flags"] & SH_FLAGS.SHF_ALLOC and s["sh_type"] != "SHT_NOBITS"
        ]
        return sum(s["sh_size"] for s in sections)


def frames(path: Path) -> dict[str, int]:
    """The bytes of stack that each function of an ELF object takes, its return address included."""
    with path.open("rb") as file:
        elf = ELFFile(file)
        reads = _MACHINES[elf["e_machine"]]
        return {
            symbol.name: reads.frame(elf, symbol)
            for table in elf.iter_sections("SHT_SYMTAB")
            if isinstance(table, SymbolTableSection)
            for symbol in table.iter_symbols()
            if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_size"]
        }


def _number(text: str) -> int:
    return int(text, 0)


def _listed(registers: str) -> int:
    """How many registers a list such as {r4, r5-r7, lr} names."""
    count = 0
    for part in registers.split(","):
        ends = [int(n) for n in re.findall(r"\d+", part)]
        count += ends[1] - ends[0] + 1 if len(ends) == 2 else 1
    return count


Rule = tuple[str, Callable[[re.Match], int]]
"""A pattern of an instruction, and how far one that matches lowers the stack pointer."""


@dataclass(frozen=True)
class _Machine:
    """How to disassemble an architecture, and what lowers its stack pointer."""

    architecture: int
    mode32: int
    mode64: int
    rules: tuple[Rule, ...]
    return_address: int = 0

    def frame(self, elf: ELFFile, symbol: Symbol) -> int:
        start, size = symbol["st_value"], symbol["st_size"]
        mode = self.mode64 if elf.elfclass == 64 else self.mode32
        if self.architecture == cs.CS_ARCH_ARM:
            mode |= cs.CS_MODE_THUMB if start & 1 else cs.CS_MODE_ARM
            start &= ~1
        reader = cs.Cs(self.architecture, mode)
        reader.skipdata = True
        code = elf.get_section(symbol["st_shndx"]).data()[start : start + size]
        lowered = self.return_address
        for _, _, name, operands in reader.disasm_lite(code, start):
            text = f"{name} {operands}"
            lowered += next((by(m) for rule, by in self.rules if (m := re.match(rule, text))), 0)
        return lowered


def _immediate(match: re.Match) -> int:
    return _number(match[1])


_MACHINES = {
    "EM_X86_64": _Machine(
        cs.CS_ARCH_X86, 0, cs.CS_MODE_64,
        (
            (r"push ", lambda m: 8),
            (r"sub rsp, (\w+)$", _immediate),
            (r"and rsp, ", lambda m: _ALIGNED),
        ),
        return_address=8,
    ),
    "EM_AARCH64": _Machine(
        cs.CS_ARCH_ARM64, 0, 0,
        (
            (r"sub \w+, sp, #(\w+)$", _immediate),
            (r"sub \w+, sp, #(\w+), lsl #12", lambda m: _number(m[1]) << 12),
            (r"st[rp] .*\[sp, #-(\w+)\]!", _immediate),
            (r"and sp, ", lambda m: _ALIGNED),
        ),
    ),
    "EM_ARM": _Machine(
        cs.CS_ARCH_ARM, cs.CS_MODE_MCLASS, 0,
        (
            (r"push(?:\.w)? \{(.*)\}", lambda m: 4 * _listed(m[1])),
            (r"stmdb(?:\.w)? sp!, \{(.*)\}", lambda m: 4 * _listed(m[1])),
            (r"vpush \{(.*)\}", lambda m: 16 * _listed(m[1])),
            (r"vstmdb sp!, \{(.*)\}", lambda m: 16 * _listed(m[1])),
            (r"str\S* .*\[sp, #-(\w+)\]!", _immediate),
            (r"sub(?:w|\.w)? (?:\w+, )?sp, (?:sp, )?#(\w+)", _immediate),
            (r"sub(?:w|\.w)? sp, #(\w+)", _immediate),
            (r"bfc ", lambda m: _ALIGNED),
        ),
    ),
    "EM_RISCV": _Machine(
        cs.CS_ARCH_RISCV,
        cs.CS_MODE_RISCV32 | cs.CS_MODE_RISCVC,
        cs.CS_MODE_RISCV64 | cs.CS_MODE_RISCVC,
        (
            (r"(?:c\.)?addi(?:16sp)? sp, (?:sp, )?-(\w+)", _immediate),
            (r"andi sp, ", lambda m: _ALIGNED),
        ),
    ),
}  # fmt: skip
