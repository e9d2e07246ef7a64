"""What compiled objects take: flash, and at most how much stack, read off their machine code.

A function's frame is what all instructions together that lower the stack pointer lower it by: they
run once a call, since compiled code keeps its frame for the whole of a call. Where an instruction
that writes the stack pointer is not understood, there is no bound; tests see to it that all kernels
on all targets that hqc ships have one.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import chain, pairwise
from pathlib import Path

import capstone as cs
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Symbol, SymbolTableSection

_VECTOR_BYTES = 128
"""What a register of scalable vectors is taken to hold at most: 1,024 bits."""

_SHADOW = 16
"""Bytes behind an x86 instruction that capstone does not know, of which it may misread some."""


class NotUnderstoodError(Exception):
    """An instruction does to the stack pointer what this module does not know."""


@dataclass(frozen=True)
class Footprint:
    """Bytes of code and its constants, of weights, and a bound of the stack.

    0 where they are not known: objects that are not ELF are not read, and code of other compilers
    may do to the stack pointer what is not understood.
    """

    code_bytes: int = 0
    weight_bytes: int = 0
    stack_bytes: int = 0

    @classmethod
    def of(cls, entry: Path, called: Sequence[Path], weight_bytes: int, deep: int) -> Footprint:
        """Of a library's object of entries, and of those of kernels and what kernels call.

        So many functions of the entries' may be active at once, above one kernel.
        """
        if any(o.read_bytes()[:4] != b"\x7fELF" for o in (entry, *called)):
            return cls(weight_bytes=weight_bytes)
        code = sum(map(_allocated, (entry, *called)))
        try:
            deepest = sum(max(frames(o).values(), default=0) for o in called)
            entered = sum(sorted(frames(entry).values())[-deep:])
        except NotUnderstoodError:
            return cls(code, weight_bytes)
        return cls(code, weight_bytes, deepest + entered)

    def values(self) -> dict[str, object]:
        """What the templates say of it."""
        bound = f"at most {self.stack_bytes} bytes" if self.stack_bytes else "not known"
        return {**vars(self), "stack_bound": bound}


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
    """The bytes of stack that each function of an ELF object takes, its return address included.

    Raises `NotUnderstoodError` for an instruction that does something else to the stack pointer.
    """
    with path.open("rb") as file:
        elf = ELFFile(file)
        reads = _MACHINES[elf["e_machine"]]
        symbols = [
            symbol
            for table in elf.iter_sections("SHT_SYMTAB")
            if isinstance(table, SymbolTableSection)
            for symbol in table.iter_symbols()
        ]
        data = [s for s in symbols if re.match(r"\$[adtx](\.|$)", s.name)]
        return {
            symbol.name: reads.frame(elf, symbol, data)
            for symbol in symbols
            if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_size"]
        }


def _number(text: str) -> int:
    return int(text.lstrip("#"), 0)


def _listed(registers: str) -> int:
    """How many registers a list such as {r4, r5-r7, lr} names."""
    count = 0
    for part in registers.split(","):
        ends = [int(n) for n in re.findall(r"\d+", part)]
        count += ends[1] - ends[0] + 1 if len(ends) == 2 else 1
    return count


@dataclass
class _Frame:
    """What is known of registers, as (base, offset): the base is SP, FRAME or 0 of a number.

    An offset from SP is from where the stack pointer was.
    """

    machine: _Machine
    code: bytes
    start: int
    lowered: int
    known: dict[str, tuple[str, int]] = field(default_factory=dict)

    def value(self, register: str) -> tuple[str, int] | None:
        if register == self.machine.stack_pointer:
            return "SP", 0
        if register in self.machine.frame_pointers:
            return "FRAME", 0
        return ("", 0) if register in ("zero", "xzr") else self.known.get(register)

    def put(self, register: str, value: tuple[str, int] | None) -> None:
        """Give a register a value; one that is not known must not be the stack pointer's."""
        if register != self.machine.stack_pointer:
            self.known.pop(register, None)
            if value is not None:
                self.known[register] = value
            return
        base, offset = value or ("", 0)
        if base not in ("SP", "FRAME"):
            raise LookupError(register)
        if base == "SP":
            self.lowered += max(-offset, 0)

    def add(self, register: str, first: str, second: int | str, sign: int = 1) -> None:
        one = self.value(first)
        two = ("", second) if isinstance(second, int) else self.value(second)
        if one is not None and two is not None and one[0] == "" != two[0]:
            one, two = two, one if sign > 0 else None
        known = one is not None and two is not None and two[0] == ""
        self.put(register, (one[0], one[1] + sign * two[1]) if known else None)

    def align(self, register: str, first: str, size: int) -> None:
        self.add(register, first, -size)

    def literal(self, at: int, register: str, offset: int) -> None:
        """A number that Thumb code holds near itself."""
        place = (at + 4 & ~3) + offset - self.start
        (number,) = struct.unpack_from("<i", self.code, place)
        self.put(register, ("", number))

    def lower(self, size: int) -> None:
        self.lowered += size


Rule = tuple[str, Callable[[_Frame, re.Match, int], None]]
"""A pattern of an instruction, and what one that matches does, at an address."""


@dataclass(frozen=True, eq=False)
class _Machine:
    """How to disassemble an architecture, and what its instructions do to the stack pointer."""

    architecture: int
    mode32: int
    mode64: int
    stack_pointer: str
    frame_pointers: tuple[str, ...]
    writes: str
    rules: tuple[Rule, ...]
    return_address: int = 0

    def frame(self, elf: ELFFile, symbol: Symbol, marks: Sequence[Symbol]) -> int:
        start, size = symbol["st_value"], symbol["st_size"]
        mode = self.mode64 if elf.elfclass == 64 else self.mode32
        is_thumb = self.architecture == cs.CS_ARCH_ARM and start & 1
        if self.architecture == cs.CS_ARCH_ARM:
            mode |= cs.CS_MODE_THUMB if is_thumb else cs.CS_MODE_ARM
            start &= ~1
        reader = cs.Cs(self.architecture, mode)
        reader.skipdata = True
        reader.skipdata_setup = (".byte", partial(self._length, is_thumb), None)
        section = symbol["st_shndx"]
        code = elf.get_section(section).data()[start : start + size]
        kinds = sorted((m["st_value"], m.name[1]) for m in marks if m["st_shndx"] == section)
        frame = _Frame(self, code, start, self.return_address)
        # Read anew behind data, which would be taken for instructions that reach beyond it.
        begun = next((kind for at, kind in reversed(kinds) if at <= start), "a")
        inside = [(at, kind) for at, kind in kinds if start < at < start + size]
        begins = [(start, begun), *inside, (start + size, "d")]
        parts = (
            reader.disasm_lite(code[at - start : end - start], at)
            for (at, kind), (end, _) in pairwise(begins)
            if kind != "d"
        )
        misread_to = 0
        for at, length, name, operands in chain.from_iterable(parts):
            if name == ".byte":
                is_x86 = self.architecture == cs.CS_ARCH_X86
                misread_to = at + length + _SHADOW if is_x86 else 0
                continue
            try:
                self._follow(frame, f"{name} {operands}", at)
            except LookupError:
                if at >= misread_to:
                    raise NotUnderstoodError(
                        f"{symbol.name}: the stack that {name} {operands} takes is not known"
                    ) from None
        return frame.lowered

    def _length(self, is_thumb: bool, code: bytes, size: int, at: int, _: object) -> int:
        """How long an instruction is that capstone does not know."""
        first = int.from_bytes(code[at : min(at + 2, size)], "little")
        if self.architecture == cs.CS_ARCH_ARM64:
            return 4
        if self.architecture == cs.CS_ARCH_RISCV:
            return 4 if first & 3 == 3 else 2
        if self.architecture == cs.CS_ARCH_ARM:
            return 4 if not is_thumb or first >> 11 in (0b11101, 0b11110, 0b11111) else 2
        return 1

    def _follow(self, frame: _Frame, text: str, at: int) -> None:
        does, match, written = self._read(text)
        if match is not None:
            does(frame, match, at)
        for register in written if frame.known else ():
            frame.known.pop(register, None)

    @lru_cache(1 << 16)  # noqa: B019  there are as many machines as architectures
    def _read(self, text: str) -> tuple[Callable | None, re.Match | None, tuple[str, ...]]:
        """What an instruction does, to what, or else the registers that it may write.

        Most instructions are met again and again.
        """
        for rule, does in self.rules:
            if match := re.match(rule, text):
                return does, match, ()
        if re.match(self.writes, text):
            raise LookupError(text)
        if re.match(r"(st|vst|cmp|tst|cmn)", text):
            return None, None, ()
        return None, None, tuple(re.findall(r"\b[a-z]+\d*\b", text))


def _lower(scale: int = 1) -> Callable[[_Frame, re.Match, int], None]:
    return lambda frame, m, _: frame.lower(_number(m[1]) * scale)


def _push(size: int) -> Callable[[_Frame, re.Match, int], None]:
    return lambda frame, m, _: frame.lower(size * _listed(m[1]))


def _sum(frame: _Frame, m: re.Match, _: int) -> None:
    """(add or sub) register, [register,] number or register."""
    register, last = m["to"], m["last"]
    first = m["first"] or register
    number = _number(last) if re.match(r"#?-?\d", last) else last
    if isinstance(number, int) and m["shift"]:
        number <<= _number(m["shift"])
    frame.add(register, first, number, -1 if m[1] == "sub" else 1)


def _masked(frame: _Frame, m: re.Match, _: int) -> None:
    """and register, register, mask of what is kept."""
    size = -_number(m["mask"]) % 2**64
    if size & size - 1 or not size:
        frame.put(m["to"], None)
    else:
        frame.align(m["to"], m["first"] or m["to"], size)


def _nothing(frame: _Frame, m: re.Match, _: int) -> None:
    """It raises the stack pointer, by what was pushed."""


_LAST = r"(?P<last>#?-?\w+)(?:, lsl #(?P<shift>\w+))?$"

_MACHINES = {
    "EM_X86_64": _Machine(
        cs.CS_ARCH_X86, 0, cs.CS_MODE_64, "rsp", ("rbp",),
        r"(?!cmp|test)\w+ [re]?spl?\b|enter|x\w+ .*\brsp$",
        (
            (r"push", lambda frame, m, _: frame.lower(8)),
            (r"(pop|leave)\b", _nothing),
            (r"(add|sub) (?P<to>rsp), (?P<first>)(?P<last>-?\w+)(?P<shift>)$", _sum),
            (r"and (?P<to>rsp), (?P<first>)(?P<mask>\w+)$", _masked),
            (r"(?:lea rsp, \[rbp|mov rsp, rbp)", _nothing),
            (r"lea rsp, \[rsp \+", _nothing),
            (r"lea rsp, \[rsp - (\w+)\]", _lower()),
        ),
        return_address=8,
    ),
    "EM_AARCH64": _Machine(
        cs.CS_ARCH_ARM64, 0, 0, "sp", ("x29",),
        r"(?!cmp|cmn|tst)\w+ w?sp\b|.*\[sp\]?,.*\]!|.*\[sp\], ",
        (
            (r"st[rp] .*\[sp, #-(\w+)\]!", _lower()),
            (r"ld[rp] .*\[sp\], #\w+$", _nothing),
            (rf"(add|sub) (?P<to>\w+), (?P<first>\w+), {_LAST}", _sum),
            (r"and (?P<to>\w+), (?P<first>\w+), #(?P<mask>\w+)$", _masked),
            (r"mov (\w+), #(-?\w+)$", lambda f, m, _: f.put(m[1], ("", _number(m[2])))),
            (r"mov (\w+), (\w+)$", lambda f, m, _: f.put(m[1], f.value(m[2]))),
        ),
    ),
    "EM_ARM": _Machine(
        cs.CS_ARCH_ARM, cs.CS_MODE_MCLASS, 0, "sp", ("r7", "r11", "fp"),
        r"(?!cmp|cmn|tst|st|v|push|ldm\S* sp,)\S+ sp\b|.*\bsp!|.*\[sp\]?,.*\]!|.*\[sp\], ",
        (
            (r"push\S* \{(.*)\}", _push(4)),
            (r"stmdb\S* sp!, \{(.*)\}", _push(4)),
            (r"vpush\S* \{(.*)\}", _push(16)),
            (r"vstmdb\S* sp!, \{(.*)\}", _push(16)),
            (r"str\S* .*\[sp, #-(\w+)\]!", _lower()),
            (r"(v?pop|v?ldm\S* sp!|ldr\S* .*\[sp\], #\w+$)", _nothing),
            # What capstone calls loads of MVE that move their base, which is no stack pointer.
            (r"ldc\S* p1[45], c\d+, \[sp(\], #\w+|, #-?\w+\]!)$", _nothing),
            (rf"(add|sub)[a-z.]* (?P<to>\w+), (?:(?P<first>\w+), )?{_LAST}", _sum),
            (r"bfc\S* (\w+), #0, #(\w+)", lambda f, m, _: f.align(m[1], m[1], 1 << _number(m[2]))),
            (r"lsrs? (\w+), \1, #\w+$", _nothing),  # and back, which aligns
            (r"lsls? (\w+), \1, #(\w+)$", lambda f, m, _: f.align(m[1], m[1], 1 << _number(m[2]))),
            (r"movw?\S* (\w+), #(\w+)$", lambda f, m, _: f.put(m[1], ("", _number(m[2])))),
            (r"mov\S* (\w+), (\w+)$", lambda f, m, _: f.put(m[1], f.value(m[2]))),
            (r"ldr\S* (\w+), \[pc, #(\w+)\]", lambda f, m, at: f.literal(at, m[1], _number(m[2]))),
        ),
    ),
    "EM_RISCV": _Machine(
        cs.CS_ARCH_RISCV,
        cs.CS_MODE_RISCV32 | cs.CS_MODE_RISCVC,
        cs.CS_MODE_RISCV64 | cs.CS_MODE_RISCVC,
        "sp", ("s0", "fp"),
        r"(?!(?:c\.)?f?s[bhwd]|b)\S+ sp\b",
        (
            (r"(?:c\.)?(add)i(?:w|4spn|16sp)? (?P<to>\w+), (?:(?P<first>\w+), )?"
             r"(?P<last>-?\w+)(?P<shift>)$", _sum),
            (r"(?:c\.)?(add|sub)w? (?P<to>\w+), (?:(?P<first>\w+), )?"
             r"(?P<last>\w+)(?P<shift>)$", _sum),
            (r"(?:c\.)?andi (?P<to>\w+), (?:(?P<first>\w+), )?(?P<mask>-\w+)$", _masked),
            (r"(?:c\.)?lui (\w+), (-?\w+)$", lambda f, m, _: f.put(m[1], ("", _upper(m[2])))),
            (r"(?:c\.)?li (\w+), (-?\w+)$", lambda f, m, _: f.put(m[1], ("", _number(m[2])))),
            (r"(?:c\.)?mv (\w+), (\w+)$", lambda f, m, _: f.put(m[1], f.value(m[2]))),
            (r"(?:c\.)?slli (\w+), (?:(\w+), )?(\w+)$", lambda f, m, _: _shifted(f, m)),
            (r"(?:c\.)?mul (\w+), (\w+), (\w+)$", lambda f, m, _: _product(f, m)),
            (r"csrr (\w+), (?:vlenb|3106)$", lambda f, m, _: f.put(m[1], ("", _VECTOR_BYTES))),
        ),
    ),
}  # fmt: skip


def _upper(text: str) -> int:
    """What lui makes of its 20 bits."""
    number = _number(text) & 0xFFFFF
    return (number - (number >> 19 << 20)) << 12


def _shifted(frame: _Frame, m: re.Match) -> None:
    base, number = frame.value(m[2] or m[1]) or ("?", 0)
    frame.put(m[1], ("", number << _number(m[3])) if base == "" else None)


def _product(frame: _Frame, m: re.Match) -> None:
    (one, first), (two, second) = (frame.value(m[i]) or ("?", 0) for i in (2, 3))
    frame.put(m[1], ("", first * second) if one == two == "" else None)
