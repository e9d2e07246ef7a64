"""Zig is started itself where its package is, and else the module that says what is missing."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

from hqc.codegen import toolchain


def test_zig_is_that_of_its_package():
    done = subprocess.run([*toolchain._ZIG, "version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip().startswith(".".join(version("ziglang").split(".")[:3]))


def test_without_the_package_its_module_is_asked_for(monkeypatch):
    monkeypatch.setattr(toolchain, "find_spec", lambda name: None)
    assert toolchain._zig_command() == [sys.executable, "-m", "ziglang"]
