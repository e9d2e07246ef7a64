"""hqc targets, and its verbs show, fmt and schema."""

from __future__ import annotations

import json

from hqc.targets import profile_names, target_names
from tests.conftest import ROOT


def test_the_list(run_hqc):
    done = run_hqc("targets")
    assert all(f"\n{name} " in f"\n{done.stdout}" for name in [*target_names(), *profile_names()])
    found = json.loads(run_hqc("targets", "--json").stdout)
    assert [t["name"] for t in found["targets"]] == target_names()


def test_show_makes_what_is_inherited_visible(run_hqc, tmp_path):
    assert "vector   128 bit  # from armv8-a" in run_hqc("targets", "show", "arm-a72").stdout
    (tmp_path / "mine.hqt").write_text("target mine extends rv64gc {\n}\n")
    shown = run_hqc("targets", "show", "mine.hqt").stdout
    assert shown.startswith("target mine {\n")
    assert "# from rv64gc" in shown


def test_show_of_nothing(run_hqc):
    done = run_hqc("targets", "show", "arm-a722")
    assert done.returncode == 2
    assert "did you mean 'arm-a72'?" in done.stderr


def test_fmt_writes_and_checks(run_hqc, tmp_path):
    file = tmp_path / "mine.hqt"
    file.write_text("target mine extends rv64gc{vector 0 bit}")
    done = run_hqc("targets", "fmt", "--check", "mine.hqt")
    assert (done.returncode, done.stdout) == (1, "mine.hqt: would change\n")
    assert run_hqc("targets", "fmt", "mine.hqt").returncode == 0
    assert file.read_text() == "target mine extends rv64gc {\n  vector 0 bit\n}\n"
    assert run_hqc("targets", "fmt", "--check", "mine.hqt").returncode == 0


def test_fmt_leaves_a_broken_file_alone(run_hqc, tmp_path):
    file = tmp_path / "mine.hqt"
    file.write_text("target mine {vectr}")
    done = run_hqc("targets", "fmt", "mine.hqt")
    assert done.returncode == 2
    assert "mine.hqt:1:14: did not expect 'vectr'" in done.stderr
    assert file.read_text() == "target mine {vectr}"


def test_schema_is_the_page_in_docs(run_hqc):
    page = (ROOT / "docs" / "target-files.md").read_text()
    assert run_hqc("targets", "schema").stdout == page


def test_ops_are_the_page_in_docs(run_hqc):
    assert run_hqc("ops").stdout == (ROOT / "docs" / "coverage.md").read_text()
