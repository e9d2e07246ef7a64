"""From `.hqt` text to a `Target`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from importlib import resources
from itertools import takewhile
from typing import Any

import lark

from hqc.errors import UserError
from hqc.targets.costs import PARTS, Costs
from hqc.targets.expressions import number_dimension, number_value
from hqc.targets.syntax import Block, Source, find, names, suggest, unquote
from hqc.targets.units import DATA, FREQUENCY, NUMBER, Dimension

OPTIMIZE = ("size", "speed")
"""What a library can be made for."""

WIDEST_VECTOR = 128
"""Bits of the widest vectors that kernels are written for."""


_USUAL_CACHE = 32 << 10

DATA_CACHES = ("l1d", "l2", "l3")
"""The caches that loads and stores go through, in order."""


@dataclass(frozen=True)
class Cache:
    """A cache of `size` bytes; `ways` is 0 and `replacement` empty where they are not said."""

    size: int
    ways: int = 0
    replacement: str = ""


@dataclass(frozen=True)
class Target:
    """A machine to compile for.

    `llvm` holds triple, cpu, abi, features and float (ABI); `compiler` the triple for the C
    compiler and, if it needs one, its cpu; `vector_bits` is 0 without vectors; `costs` is what the
    parts of kernels take; `optimize` is size or speed; `cache_line`, `flash` and `ram` are in
    bytes, `clock` in Hz, 0 if unknown; `cycles` is what an "instruction", and a miss of each data
    cache, are estimated to take; `emulate` is the command that runs its programs here,
    None where there is none. They are linked by `program_compiler`, if it is not empty, or for
    `board`, without an operating system.
    """

    name: str
    about: str = ""
    llvm: dict[str, str] = field(default_factory=dict)
    compiler: tuple[str, ...] = ()
    vector_bits: int = 0
    costs: Costs = field(default_factory=Costs)
    optimize: str = "speed"
    caches: dict[str, Cache] = field(default_factory=dict)
    cache_line: int = 0
    clock: float = 0.0
    flash: int = 0
    ram: int = 0
    cycles: dict[str, float] = field(default_factory=dict)
    emulate: str | None = None
    program_compiler: tuple[str, ...] = ()
    board: str | None = None

    @property
    def is_host(self) -> bool:
        """Whether it is the machine that hqc runs on."""
        return self.compiler == ("host",)

    @property
    def is_wasm(self) -> bool:
        """Whether it is an engine of WebAssembly."""
        return self.llvm["triple"].startswith("wasm32")

    @property
    def is_bare(self) -> bool:
        """Whether its programs have no operating system, and are linked for fixed addresses."""
        return "freestanding" in self.compiler[0] and not self.llvm["triple"].startswith("wasm")

    @property
    def word_bits(self) -> int:
        """Bits that an instruction computes at once, without vectors."""
        narrow = ("arm", "thumb", "riscv32", "i386", "i486", "i586", "i686")
        triple = self.llvm["triple"]
        return 32 if triple.startswith(narrow) and not triple.startswith("arm64") else 64

    @property
    def listing(self) -> str:
        """How `choose-kernels` lists spikes: by a mask where an instruction moves its lanes
        together, of 64 where registers make up a vector; LLVM knows that of this machine."""
        if self.llvm["triple"] == "host":
            return "host"
        return "mask64" if "+v" in self.llvm.get("features", "").split(",") else "table"

    @property
    def dots(self) -> str:
        """Whose instructions add products of four bytes: "aarch64", "none", or "host", which LLVM
        knows."""
        if self.llvm["triple"] == "host":
            return "host"
        has = "+dotprod" in self.llvm.get("features", "").split(",")
        return "aarch64" if has and self.llvm["triple"].startswith(("aarch64", "arm64")) else "none"

    @property
    def has_floats(self) -> bool:
        """Whether it computes with floats in registers."""
        triple, features = self.llvm["triple"], self.llvm.get("features", "")
        if triple.startswith(("arm", "thumb")):
            return self.llvm.get("float") == "hard"
        return not triple.startswith("riscv") or "+f" in features.split(",")

    @property
    def data_caches(self) -> dict[str, Cache]:
        """The data caches that are known in full, the nearest first, up to one that is not."""
        known = takewhile(lambda n: n in self.caches and self.caches[n].ways, DATA_CACHES)
        return {name: self.caches[name] for name in known}

    @property
    def first_cache(self) -> int:
        """Bytes of the first data cache, of a usual one where it is not said."""
        return self.caches["l1d"].size if "l1d" in self.caches else _USUAL_CACHE

    def tvm_target(self) -> dict[str, object]:
        """The target as TVM takes it."""
        llvm = dict(self.llvm)
        if llvm["triple"] == "host":
            from tvm.target import codegen

            llvm |= {
                "triple": codegen.llvm_get_system_triple(),
                "cpu": codegen.llvm_get_system_cpu(),
            }
        target: dict[str, object] = {
            "kind": "llvm",
            "mtriple": llvm["triple"],
            "mcpu": llvm["cpu"],
        }
        if "abi" in llvm:
            target["mabi"] = llvm["abi"]
        if "features" in llvm:
            target["mattr"] = llvm["features"].split(",")
        if "float" in llvm:
            target["mfloat-abi"] = llvm["float"]
        if self.is_wasm or llvm["triple"].startswith("thumb"):
            target["vector-width"] = WIDEST_VECTOR  # TVM knows none for it, and warns
        if self.optimize == "size":
            target["opt-level"] = 2  # at 3, LLVM unrolls loops and gains little
        return target


_ARCHITECTURE = re.compile(
    r"(host|x86_64|i[3-6]86|aarch64|arm64|riscv(32|64)|wasm32|"
    r"(arm|thumb)(v(5te|6|6m|7|7a|7r|7m|7em|8a|8r|8m\.base|8m\.main|8\.1m\.main))?)(-|$)"
)
"""Triples of little-endian machines that LLVM knows; at others it ends the process."""

_ABI = re.compile(r"(ilp32|lp64)[efd]?$|aapcs(-linux)?$")
_MACHINES = (
    "machines are aarch64, arm, thumb, riscv32, riscv64, wasm32 and x86_64, e.g. aarch64-linux-gnu"
)


class _Fields:
    """Statements of one target to fields of `Target`."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def of(self, statement: lark.Tree) -> dict[str, object]:
        """The fields that a statement sets."""
        return getattr(self, f"_{statement.data}")(statement)

    def _about(self, statement: lark.Tree) -> dict[str, object]:
        return {"about": unquote(statement.children[0])}

    def _emulate(self, statement: lark.Tree) -> dict[str, object]:
        command, linked = statement.children
        fields: dict[str, object] = {
            "emulate": unquote(command),
            "program_compiler": (),
            "board": None,
        }
        if linked is not None and linked.data == "board":
            fields["board"] = self._board(linked.children[0])
        elif linked is not None:
            fields["program_compiler"] = tuple(unquote(c) for c in linked.children if c is not None)
        return fields

    def _board(self, name: lark.Token) -> str:
        scripts = (resources.files("hqc.runtimes.bare")).iterdir()
        boards = sorted(s.name[:-3] for s in scripts if s.name.startswith("mps"))
        if unquote(name) not in boards:
            raise self._source.error_at(
                name, f"there is no board {unquote(name)!r}", f"boards are: {', '.join(boards)}"
            )
        return unquote(name)

    def _compiler(self, statement: lark.Tree) -> dict[str, object]:
        return {"compiler": tuple(unquote(c) for c in statement.children if c is not None)}

    def _llvm(self, statement: lark.Tree) -> dict[str, object]:
        found = self._named(statement, unquote)
        for name, given in (setting.children for setting in statement.children):
            known = _ABI if name == "abi" else _ARCHITECTURE if name == "triple" else None
            if known and not known.match(unquote(given)):
                raise self._source.error_at(
                    given, f"there are no kernels for the {name} {unquote(given)!r}", _MACHINES
                )
        return {"llvm": found}

    def _cache(self, statement: lark.Tree) -> dict[str, object]:
        *sizes, line = statement.children
        line_bytes = int(self._amount(line, DATA)) // 8 if line is not None else 0
        if line is not None and not _is_power_of_two(line_bytes):
            raise self._source.error_at(line, "a line is 1, 2, 4, 8, ... B")
        found: dict[str, Cache] = {}
        for tree in sizes:
            name, size, ways = tree.children
            self._once(name, found)
            found[str(name)] = self._sized(size, ways, line_bytes)
        return {"caches": found, "cache_line": line_bytes}

    def _sized(self, size: lark.Tree, ways: lark.Tree | None, line: int) -> Cache:
        size_bytes = int(self._amount(size, DATA)) // 8
        if ways is None:
            return Cache(size_bytes)
        digits, replacement = ways.children
        count = int(digits) if digits.isdigit() else 0
        if not line:
            raise self._source.error_at(
                digits, "ways need the size of a line", "end the statement with e.g. line 64 B"
            )
        if not (count and size_bytes % (count * line) == 0) or not _is_power_of_two(
            size_bytes // (count * line)
        ):
            raise self._source.error_at(
                digits,
                f"{size_bytes} B in {digits} ways of lines of {line} B are no 1, 2, 4, 8, ... sets",
            )
        return Cache(size_bytes, count, str(replacement))

    def _cycles(self, statement: lark.Tree) -> dict[str, object]:
        instruction, *misses = statement.children
        found = {"instruction": self._count(instruction.children[0])}
        for miss in misses:
            digits, name, _ = miss.children
            self._once(name, found)
            if name not in DATA_CACHES:
                raise self._source.error_at(
                    name, f"misses of {name} are not counted", f"use {', '.join(DATA_CACHES)}"
                )
            found[str(name)] = self._count(digits)
        return {"cycles": found}

    def _count(self, digits: lark.Token) -> float:
        if not math.isfinite(float(digits)):
            raise self._source.error_at(digits, "this number is too large")
        return float(digits)

    def _flash(self, statement: lark.Tree) -> dict[str, object]:
        return {"flash": int(self._amount(statement.children[0], DATA)) // 8}

    def _ram(self, statement: lark.Tree) -> dict[str, object]:
        return {"ram": int(self._amount(statement.children[0], DATA)) // 8}

    def _clock(self, statement: lark.Tree) -> dict[str, object]:
        return {"clock": self._amount(statement.children[0], FREQUENCY)}

    def _vector(self, statement: lark.Tree) -> dict[str, object]:
        number = statement.children[0]
        bits = self._amount(number, DATA)
        if bits % 64 or bits > WIDEST_VECTOR:
            raise self._source.error_at(
                number, f"kernels use vectors of 0, 64 or {WIDEST_VECTOR} bit"
            )
        return {"vector_bits": int(bits)}

    def _costs(self, statement: lark.Tree) -> dict[str, object]:
        found: dict[str, float] = {}
        for digits, name in (cost.children for cost in statement.children[:-1]):
            self._once(name, found)
            if name not in PARTS:
                raise self._source.error_at(
                    name,
                    f"kernels have no part {str(name)!r}",
                    suggest(name, PARTS) or f"parts are: {', '.join(PARTS)}",
                )
            found[str(name)] = self._count(digits)
        return {"costs": Costs(**found)}

    def _optimize(self, statement: lark.Tree) -> dict[str, object]:
        return {"optimize": str(statement.children[0])}

    def _named(self, statement: lark.Tree, value) -> dict[str, object]:
        found: dict[str, object] = {}
        for setting in statement.children:
            name, given = setting.children
            self._once(name, found)
            found[str(name)] = value(given)
        return found

    def _once(self, name: lark.Token, found: dict[str, Any]) -> None:
        if name in found:
            raise self._source.error_at(name, f"{str(name)!r} is said twice")

    def _amount(self, number: lark.Tree, wanted: Dimension) -> float:
        found = number_dimension(number)
        if found != wanted:
            hint = "add a unit, e.g. 128 bit, 32 KiB, 1.5 GHz" if found == NUMBER else None
            raise self._source.error_at(number, f"this is {found}, not {_NAMES[wanted]}", hint)
        return number_value(number, self._source)


def _is_power_of_two(number: int) -> bool:
    return number.bit_count() == 1


_NAMES = {DATA: "a size (bit, B, KiB, MiB)", FREQUENCY: "a frequency (MHz, GHz)"}


def own_fields(block: Block) -> dict[str, object]:
    """The fields that a target says itself. Raises `TargetFileError`."""
    fields: dict[str, object] = {}
    said: set[str] = set()
    for statement in block.statements:
        if statement.data in said:
            raise block.source.error_at(
                statement, f"{statement.data} is said twice in target {str(block.name)!r}"
            )
        said.add(statement.data)
        fields |= _Fields(block.source).of(statement)
    return fields


def target_names() -> list[str]:
    """The names of the targets that hqc ships."""
    return names("target")


def load_target(name: str, optimize: str | None = None) -> Target:
    """A shipped target by name, or the last one of a user's `.hqt` file by path.

    `optimize`, size or speed, replaces what the target says. Raises `UserError` for anything else
    and for an unknown name, suggesting the nearest, and `TargetFileError` for a mistake in a file.
    """
    if optimize not in (None, *OPTIMIZE):
        raise UserError(
            f"there is nothing to optimize for called {optimize!r}",
            hint=f"optimize is {' or '.join(OPTIMIZE)}",
        )
    lineage = find("target", name)
    fields: dict[str, object] = {}
    for block in reversed(lineage):
        fields |= own_fields(block)
    block = lineage[0]
    llvm = fields.get("llvm")
    if not (isinstance(llvm, dict) and {"triple", "cpu"} <= set(llvm)):
        raise block.source.error_at(
            block.name, f"target {str(block.name)!r} says no 'llvm' triple and cpu"
        )
    if not fields.get("compiler"):
        raise block.source.error_at(block.name, f"target {str(block.name)!r} says no 'compiler'")
    if optimize is not None:
        fields["optimize"] = optimize
    return Target(str(block.name), **fields)
