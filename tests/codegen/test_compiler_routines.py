"""The model's own arithmetic, against C's, and objects that are made to call it."""

from __future__ import annotations

import ctypes
import subprocess

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from hqc.codegen.compiler_routines import provided, rename, take_over
from hqc.codegen.interface import render
from hqc.codegen.toolchain import Toolchain
from hqc.targets import load_target


@pytest.fixture(scope="module")
def arithmetic(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arithmetic")
    (folder / "a.c").write_text(render("arithmetic.c.in", {"name": "m"}))
    host = Toolchain.of(load_target("host"))
    host.share([host.compile("a.c", folder)], "a.so", folder)
    return ctypes.CDLL(str(folder / "a.so"))


NUMBERS = [*(2**p + d for p in range(0, 64, 3) for d in (-1, 0, 1)), 0, 3, 10, 1000003]


@pytest.mark.parametrize(
    ("routine", "meaning", "bits", "seconds"),
    [
        ("ashldi3", lambda x, y: x << y, 64, range(64)),
        ("lshrdi3", lambda x, y: (x % 2**64) >> y, 64, range(64)),
        ("ashrdi3", lambda x, y: x >> y, 64, range(64)),
        ("muldi3", lambda x, y: x * y, 64, NUMBERS),
        ("udivsi3", lambda x, y: (x % 2**32) // (y % 2**32), 32, NUMBERS),
        ("umodsi3", lambda x, y: (x % 2**32) % (y % 2**32), 32, NUMBERS),
        ("divsi3", lambda x, y: int(np.trunc(x / y)), 32, NUMBERS),
        ("modsi3", lambda x, y: int(np.fmod(x, y)), 32, NUMBERS),
    ],
)
def test_arithmetic_is_that_of_integers(arithmetic, routine, meaning, bits, seconds):
    size, number = 2**bits, ctypes.c_int64 if bits == 64 else ctypes.c_int32
    call = arithmetic[f"m_{routine}"]
    call.restype = number
    is_shift = isinstance(seconds, range)
    second = ctypes.c_int if is_shift else number
    for x in (number(n * sign).value for n in NUMBERS for sign in (1, -1)):
        for y in seconds if is_shift else (number(n * s).value for n in seconds for s in (1, -1)):
            if y or is_shift or bits == 64:
                wanted = number(meaning(x, y) % size).value
                assert call(number(x), second(y)) == wanted, (x, y)


def test_zeros_are_counted(arithmetic):
    for number in (n % 2**32 for n in NUMBERS):
        assert arithmetic.m_clzsi2(ctypes.c_uint32(number)) == 32 - number.bit_length()


def test_every_routine_is_tested():
    assert provided() == {
        f"__{r}" for r in ("ashldi3", "lshrdi3", "ashrdi3", "muldi3", "clzsi2", "udivsi3",
                           "umodsi3", "divsi3", "modsi3")
    }  # fmt: skip


@pytest.mark.parametrize("target", ["cortex-m0plus", "arm-a72"])  # of 32 and of 64 bits
def test_undefined_symbols_alone_are_renamed(target, tmp_path):
    source = "int __divsi3(int, int); int other(int x) { return __divsi3(x, 7); }\n"
    source += "int __muldi3(int x) { return other(x); }\n"
    (tmp_path / "x.c").write_text(source)
    toolchain = Toolchain.of(load_target(target))
    made = tmp_path / toolchain.compile("x.c", tmp_path)
    assert take_over(["x.o"], "m", toolchain, tmp_path) == ["m_arithmetic.o"]
    with made.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        found = {s.name: s["st_shndx"] != "SHN_UNDEF" for s in table.iter_symbols() if s.name}
        assert {s.name for s in ELFFile(file).iter_sections()} >= {".symtab", ".strtab"}
    assert {k: v for k, v in found.items() if "i3" in k or k == "other"} == {
        "m_divsi3": False, "__muldi3": True, "other": True,
    }  # fmt: skip
    assert not rename(made, {"__divsi3": "again"})
    (tmp_path / "y.c").write_text("int m_divsi3(int x, int y) { return x - y; }\n")
    (tmp_path / "main.c").write_text("int other(int); int main(void) { return other(7); }\n")
    files = ["x.o", toolchain.compile("y.c", tmp_path), toolchain.compile("main.c", tmp_path)]
    if target == "arm-a72":
        toolchain.program(files, "program", tmp_path)
        subprocess.run(["qemu-aarch64", tmp_path / "program"], check=True)
