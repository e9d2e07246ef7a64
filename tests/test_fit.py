"""Flash and RAM: what is printed, and what a target does not hold."""

from __future__ import annotations

import re
import subprocess

import pytest

import hqc
from hqc.fit import flash_need, ram_need


def board(tmp_path, **memory):
    said = "\n".join(f"  {kind} {size}" for kind, size in memory.items())
    path = tmp_path / "board.hqt"
    path.write_text(f"target board extends cortex-m4 {{\n{said}\n}}\n")
    return path


def test_what_fits_exactly_compiles(tiny_model, tmp_path):
    artifact = hqc.compile(tiny_model, "cortex-m4", tmp_path / "build")
    flash, ram = flash_need(artifact.manifest).total, ram_need(artifact.manifest).total
    exact = board(tmp_path, flash=f"{flash} B", ram=f"{ram} B")
    assert hqc.compile(tiny_model, str(exact), tmp_path / "exact").target.flash == flash
    for kind, sizes in (("flash", (flash - 1, ram)), ("RAM", (flash, ram - 1))):
        small = board(tmp_path, flash=f"{sizes[0]} B", ram=f"{sizes[1]} B")
        with pytest.raises(hqc.UserError, match=f"takes more {kind} than the") as error:
            hqc.compile(tiny_model, str(small), tmp_path / "small")
        assert not (tmp_path / "small").exists()
        needed = {"flash": flash, "RAM": ram}[kind]
        assert f"{needed:,} bytes" in error.value.message
        assert f"{kind.lower()} {-(-needed // 1024)} KiB" in error.value.hint


def test_flash_is_what_the_objects_take(tiny_model, tmp_path):
    artifact = hqc.compile(tiny_model, "cortex-m4", tmp_path / "build")
    done = subprocess.run(
        ["size", tmp_path / "build" / "libtiny.a"], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert flash_need(artifact.manifest).total == sum(int(row[0]) for row in rows)
    assert all(row[1] == row[2] == "0" for row in rows), "nothing is kept in RAM"


def test_the_command_line_says_what_is_needed_and_what_is_largest(tiny_model, run_hqc, tmp_path):
    done = run_hqc("compile", tiny_model, "--target", "cortex-m4", "-o", "build")
    assert re.search(r"flash +[\d,]+ bytes: code [\d,]+, weights [\d,]+, thresh", done.stdout)
    assert re.search(r"RAM +[\d,]+ bytes: arena [\d,]+, input 32, stack [\d,]+", done.stdout)
    done = run_hqc("compile", tiny_model, "--target", board(tmp_path, ram="1 KiB"), "-o", "build")
    assert done.returncode == 2
    assert re.search(r"the largest is \S+, [\d,]+ bytes of [a-z]+\n", done.stderr)


def test_a_computer_is_not_asked_for_its_flash(tiny_model, run_hqc):
    assert "flash" not in run_hqc("compile", tiny_model, "-o", "build").stdout
