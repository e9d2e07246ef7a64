"""Benchmarks over adb: Debian's client, a stand-in for its server, a board under an emulator."""

from __future__ import annotations

import json

import pytest

QUICK = ("--seconds", 0.05)


def test_the_program_runs_on_the_only_device(tiny_model, adb, run_hqc):
    done = run_hqc("bench", tiny_model, "--on", "adb", *QUICK, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["target"], said["equal"], said["recordings"]) == ("arm-a72", 10, 10)
    assert said["device"]["machine"] == "Phone"
    assert list(adb.board.files.iterdir()) == []


def refused(run_hqc, adb, model, place="adb"):
    done = run_hqc("bench", model, "--on", place, *QUICK)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize(
    ("devices", "place", "messages"),
    [
        ({}, "adb", ["adb sees no device", "allow USB debugging"]),
        ({"a": "device"}, "adb:b", ["adb sees no device b"]),
        ({"a": "device", "b": "device"}, "adb", ["adb sees 2 devices: a, b", "adb:SERIAL"]),
        ({"a": "unauthorized"}, "adb", ["the device a is unauthorized", "allow debugging"]),
        ({"a": "offline"}, "adb", ["the device a is offline", "take the cable out"]),
        ({"a": "recovery"}, "adb", ["the device a is recovery", "see adb devices"]),
    ],
)
def test_devices_that_cannot_be_used(devices, place, messages, tiny_model, adb, run_hqc):
    adb.devices = devices
    said = refused(run_hqc, adb, tiny_model, place)
    assert all(message in said for message in messages), said


def test_one_of_several(tiny_model, adb, run_hqc):
    adb.devices["b"] = "device"
    done = run_hqc("bench", tiny_model, "--on", "adb:b", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "on adb:b" in done.stdout


def test_no_space_left(tiny_model, adb, run_hqc):
    adb.full = True
    said = refused(run_hqc, adb, tiny_model)
    assert "cannot copy the program to /data/local/tmp" in said
    assert "No space left on device" in said
    assert "free some space there" in said
    assert list(adb.board.files.iterdir()) == []


def test_the_cable_is_taken_out(tiny_model, adb, run_hqc):
    adb.loses = True
    said = refused(run_hqc, adb, tiny_model)
    assert "the connection to the device R58M was lost" in said
    assert "is left there" in said


def test_no_server_of_adb(tiny_model, adb, run_hqc, monkeypatch):
    monkeypatch.setenv("ADB_SERVER_SOCKET", "tcp:nowhere.invalid:1")
    assert "adb devices failed" in refused(run_hqc, adb, tiny_model)


def test_no_adb(tiny_model, run_hqc, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    done = run_hqc("bench", tiny_model, "--on", "adb")
    assert done.returncode == 2
    assert "there is no adb here" in done.stderr
    done = run_hqc("bench", tiny_model, "--on", "ssh://board")
    assert done.returncode == 2
    assert "there is no ssh here" in done.stderr
