"""What an installed hqc holds: every package, and every file that is read at run time."""

from __future__ import annotations

import fnmatch
import tomllib

from tests.conftest import ROOT

SETUP = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def folder(package):
    for prefix, place in SETUP["package-dir"].items():
        if package == prefix or package.startswith(prefix + "."):
            return ROOT / place / package[len(prefix) :].lstrip(".").replace(".", "/")
    return ROOT / package.replace(".", "/")


def test_every_package_is_listed():
    listed = {folder(package) for package in SETUP["packages"]}
    tops = [ROOT / name for name in ("hqc", "passes", "runtimes", "targets")]
    assert {p.parent for top in tops for p in top.rglob("__init__.py")} == listed


def test_every_data_file_is_packed():
    for package in SETUP["packages"]:
        patterns = SETUP["package-data"].get(package, [])
        for file in folder(package).iterdir():
            if file.is_file() and file.suffix != ".py":
                assert any(fnmatch.fnmatch(file.name, p) for p in patterns), file
