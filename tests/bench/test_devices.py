"""Models times devices: one table, in which failures are rows."""

from __future__ import annotations

import json

import pytest

QUICK = ("--seconds", 0.05)


@pytest.fixture
def devices(tmp_path):
    def written(text):
        (tmp_path / "devices.toml").write_text(text)
        return "devices.toml"

    return written


def test_failures_are_rows_and_end_nothing(tiny_model, devices, run_hqc, tmp_path):
    file = devices(
        f'models = ["{tiny_model}", "none.onnx"]\n[devices.gone]\non = "ssh://127.0.0.1:9"\n'
        '[devices.here]\non = "host"\ncpu = 0\n'
    )
    done = run_hqc("bench", "--on", file, *QUICK, "--save", "runs")
    assert done.returncode == 1, done.stderr
    head, line, *rows = done.stdout.split("\n\n")[0].splitlines()
    assert [cell.strip() for cell in head.split("|")][1:5] == [
        "model", "device", "processor", "target",
    ]  # fmt: skip
    assert set(line) == set("| -")
    ends = [[cell.strip() for cell in row.split("|")][2:-1:7] for row in rows]
    assert ends == [["gone", "failed"], ["here", "10/10"], ["gone", "failed"], ["here", "failed"]]
    assert "on gone: ssh://127.0.0.1:9: ssh: connect to host" in done.stdout
    assert done.stdout.count("none.onnx: No such file") == 2
    (saved,) = (tmp_path / "runs").iterdir()
    assert json.loads(saved.read_text())["device"]["pinned_to"] == 0


def test_models_of_the_command_and_targets_of_devices(
    tiny_model, devices, run_hqc, board, reach, adb
):
    file = devices(
        'models = ["other.onnx"]\n'
        f'[devices.pi]\non = "{reach(board)}"\n[devices.phone]\non = "adb"\ntarget = "armv8-a"\n'
    )
    done = run_hqc("bench", tiny_model, "--on", file, *QUICK, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [(s["device_name"], s["target"]) for s in said] == [
        ("pi", "arm-a72"), ("phone", "armv8-a"),
    ]  # fmt: skip


DEVICE = '[devices.a]\non = "host"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models = ", "devices.toml is not TOML: "),
        ("models = 3\n" + DEVICE, "devices.toml says no list of files as models"),
        ("model = []\n" + DEVICE, "devices.toml knows no 'model'"),
        ("models = []\n", "devices.toml names no devices"),
        ("devices = 3\n", "devices.toml names no devices"),
        ("[devices.a]\n", "devices.toml does not say where the device 'a' is"),
        (DEVICE + 'cpus = 3\n', "devices.toml says of the device 'a' that cpus = 3"),
        (DEVICE + 'cpu = true\n', "devices.toml says of the device 'a' that cpu = True"),
        ('[devices.a]\non = "moon"\n', "--on: 'moon' is no place"),
        (DEVICE + 'target = "arm-a722"\n', "did you mean 'arm-a72'?"),
        (DEVICE, "devices.toml names no models, nor does the command"),
    ],
)  # fmt: skip
def test_mistakes_in_the_file(text, message, devices, run_hqc):
    done = run_hqc("bench", "--on", devices(text))
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
