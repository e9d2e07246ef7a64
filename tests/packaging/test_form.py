"""hqc package: forms are listed, and refused where they do not serve; packages appear whole."""

from __future__ import annotations

import json

import pytest

from hqc.packaging import forms


def test_help_lists_every_form(run_hqc):
    said = run_hqc("package", "--help").stdout
    assert {"arduino", "esp-idf", "python", "rust", "zephyr"} == {f.name for f in forms()}
    for form in forms():
        assert f"{form.name} " in said
        assert form.about in said


def test_a_form_that_is_none_is_refused_with_the_nearest(run_hqc, tiny):
    done = run_hqc("package", tiny("host").folder, "--as", "arduin")
    assert done.returncode == 2
    assert "there is no form 'arduin'; did you mean 'arduino'?" in done.stderr
    assert "forms are: arduino, esp-idf, python, rust, zephyr" in done.stderr


@pytest.mark.parametrize(
    ("form", "target", "why"),
    [
        ("python", "cortex-m4", "cortex-m4 has no Linux that Python runs on"),
        ("python", "rv32imc", "rv32imc has no Linux that Python runs on"),
        ("zephyr", "host", "host is no microcontroller"),
        ("zephyr", "rv64gc", "rv64gc is no microcontroller"),
        ("esp-idf", "cortex-m4", "cortex-m4 is none of esp32c2, esp32c3"),
        ("esp-idf", "host", "host is none of esp32c2, esp32c3"),
        ("arduino", "host", "Arduino has no board that runs code for host"),
        ("arduino", "rv64gc", "Arduino has no board that runs code for rv64gc"),
    ],
)
def test_a_target_that_a_form_does_not_serve_is_refused(run_hqc, tiny, tmp_path, form, target, why):
    done = run_hqc("package", tiny(target).folder, "--as", form, "-o", "out")
    assert done.returncode == 2
    assert f"--as {form}: {why}" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("form", "name", "why"),
    [
        ("python", "json", "a module cannot be called 'json' in Python"),
        ("rust", "match", "a crate cannot be called 'match' in Rust"),
    ],
)
def test_a_name_that_the_language_has_is_refused(run_hqc, tiny, form, name, why):
    done = run_hqc("package", tiny("host", name).folder, "--as", form)
    assert done.returncode == 2
    assert f"{why}: compile with another --name" in done.stderr


def test_a_folder_that_is_no_artifact_is_refused(run_hqc, tmp_path):
    done = run_hqc("package", tmp_path, "--as", "rust", "-o", "out")
    assert (done.returncode, "is not a compiled model" in done.stderr) == (2, True)


def test_what_others_made_stays_and_what_hqc_package_made_is_replaced(run_hqc, tiny, tmp_path):
    folder = tiny("cortex-m4").folder
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    done = run_hqc("package", folder, "--as", "zephyr", "-o", "out")
    assert (done.returncode, "was not made by hqc" in done.stderr) == (2, True)
    (tmp_path / "out" / "mine").unlink()
    for form in ("zephyr", "arduino"):
        done = run_hqc("package", folder, "--as", form, "-o", "out", "--json")
        assert done.returncode == 0
        there = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
        files = json.loads(done.stdout)["files"]
        assert {tmp_path / "out" / file for file in files} == set(there)
        assert ("library.properties" in files) == (form == "arduino")
