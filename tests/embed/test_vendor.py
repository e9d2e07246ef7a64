"""A library in a project of a board's vendor: GCC, and a linker script and start-up of its own."""

from __future__ import annotations

import re
import string
import subprocess

import numpy as np
import pytest

import hqc
from hqc.data.events import events_to_frames, read_events
from hqc.emulator import emulator_command
from hqc.targets import load_target
from tests.conftest import MODEL, NMNIST
from tests.embed.programs import HERE, compiled, defined
from tests.embed.test_archives import FLOAT_FLAGS

BOARDS = {
    "mps2-an385": {"flash": "0x0", "flash_size": "4M", "ram": "0x20000000", "ram_size": "4M"},
    "mps2-an386": {"flash": "0x0", "flash_size": "4M", "ram": "0x20000000", "ram_size": "4M"},
    "mps2-an500": {"flash": "0x0", "flash_size": "4M", "ram": "0x20000000", "ram_size": "4M"},
    "mps3-an547": {
        "flash": "0x10000000",
        "flash_size": "512K",
        "ram": "0x60000000",
        "ram_size": "4M",
    },
}


@pytest.fixture(scope="module")
def recording():
    """Codes of a real recording, each a count of events."""
    events = read_events(sorted((NMNIST / "sample" / "7").glob("*.bin"))[0])
    return events_to_frames(events, 8, 34, 34)


@pytest.fixture(scope="module")
def small_on_host(once):
    """What all of these targets compute, here: the network with potentials of 16 bits."""
    made = once(
        "small", lambda folder: hqc.compile(MODEL, "host", folder / "build", optimize="size")
    )
    return hqc.Artifact.open(made / "build")


@pytest.mark.parametrize(
    "target", ["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33"]
)
def test_a_vendors_project_classifies_from_flash(target, recording, small_on_host, tmp_path):
    memory = "flash 4 MiB\n  ram 4 MiB"  # that of the emulated boards
    (tmp_path / "board.hqt").write_text(f"target board extends {target} {{\n  {memory}\n}}\n")
    library = compiled(MODEL, str(tmp_path / "board.hqt"), tmp_path / "net")
    machine = load_target(target)
    (tmp_path / "board.ld").write_text(
        string.Template((HERE / "vendor.ld.in").read_text()).substitute(BOARDS[machine.board])
    )
    codes = ", ".join(map(str, recording.reshape(-1)))
    text = f"static const net_code recording[NET_INPUT_SIZE] = {{{codes}}};\n"
    (tmp_path / "recording.h").write_text(text)
    command = ["arm-none-eabi-gcc", f"-mcpu={target}", "-mthumb", *FLOAT_FLAGS[target].split()]
    command += ["-O2", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-ffunction-sections"]
    command += ["-nostdlib", "-Wl,--gc-sections,--fatal-warnings", "-T", "board.ld"]
    command += [f"-I{library}", "-I.", str(HERE / "vendor.c"), str(library / "libnet.a")]
    done = subprocess.run(
        [*command, "-lgcc", "-o", "program"], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert not done.stderr
    done = subprocess.run(
        ["readelf", "-SW", "program"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert not re.search(r"\.(got|plt|rel)\b", done.stdout)
    run = [*emulator_command(machine), str(tmp_path / "program")]
    done = subprocess.run(run, capture_output=True, check=False)
    assert done.returncode == 0
    status, *logits = np.frombuffer(done.stdout, "<i4").tolist()
    assert status == 0
    expected = small_on_host.run(recording.astype(np.float32)[:, None])
    scale = defined(library)["LOGIT_SCALE"]
    assert np.abs(np.array(logits) * scale - expected.reshape(-1)).max() <= scale / 2
    assert int(np.argmax(logits)) == 7
