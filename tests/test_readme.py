"""README shows what the demo prints, and names what exists."""

from __future__ import annotations

import re
import subprocess
import sys

from hqc.bench.devices import read_devices
from hqc.bench.on import Job, find_place
from hqc.cli import cli
from tests.conftest import MODEL, NMNIST, ROOT

README = (ROOT / "README.md").read_text()


def test_the_transcript_is_what_the_demo_prints():
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "nmnist" / "demo.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"```\n{done.stdout}```" in README


def test_what_energy_prints_is_what_it_prints():
    command = "hqc energy examples/nmnist/model.onnx --compare examples/nmnist/fp32.onnx"
    arguments = command.split()[1:]
    done = subprocess.run(
        [sys.executable, "-c", "from hqc.cli import main; main()", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"```\n$ {command}\n{done.stdout}```" in README


def test_every_verb_that_is_shown_exists():
    shown = set(re.findall(r"\bhqc ([a-z]+)\b", README)) - {"cannot", "compiles", "times"}
    assert shown <= set(cli.commands) | {"in"}


def test_every_link_leads_somewhere():
    for link in re.findall(r"\]\(([^)#]+)", README):
        assert (ROOT / link).exists(), link


def test_instructions_of_emulated_machines_are_those_that_are_counted(recordings):
    _, devices = read_devices(NMNIST / "devices.toml")
    for device in (d for d in devices if d.on == "emulator"):
        row = next(line for line in README.splitlines() if f"| {device.name} " in line)
        found = find_place("emulator")("emulator", Job(MODEL, recordings[:1], device.target))
        assert f"| {found.instructions:,} " in row
