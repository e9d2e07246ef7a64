"""Programs in C round a compiled library, for any target, and what they answer."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx

import hqc
from hqc.codegen.toolchain import Toolchain
from hqc.data.recordings import PREPROCESSING
from hqc.emulator import program_command
from hqc.targets import load_target
from tests.networks import Network

HERE = Path(__file__).parent
STEPS, HEIGHT, WIDTH = 3, 5, 6
MOST_EVENTS = 8192


def small_network(
    path: Path,
    scale: float = 1.0,
    signed: int = 0,
    rows: int = 1,
    kind: str = "events",
    steps: int = STEPS,
    bits: int = 8,
) -> Path:
    """Counts of events, or images, to 4 classes, at once or in each of the time steps."""
    rng = np.random.default_rng(1)
    net = Network((steps, 1, 2, HEIGHT, WIDTH))
    frames = net.op(
        "QuantUniform", "frames", net.constant([scale]), domain="ai.hqc", bits=bits, signed=signed
    )
    image = net.view(frames, (steps, 2, HEIGHT, WIDTH))
    weights = net.quantized(rng.normal(size=(8, 2, 3, 3)), bits=4)
    sums = net.op("Conv", image, weights, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    spikes = net.lif(net.view(sums, (steps, 1, 8, HEIGHT, WIDTH)))
    if rows == 1:
        net.head(net.mean(spikes, [0, 3, 4]), 8, rng.normal(size=4))
    else:
        rates = net.mean(net.view(spikes, (steps, 8, HEIGHT * WIDTH)), [2])
        head = net.quantized(rng.normal(size=(4, 8)))
        bias = net.constant(rng.normal(size=4))
        net.op("Gemm", rates, head, bias, transB=1, out="logits", name="head")
    model = onnx.load(net.save(path))
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = rows
    onnx.save(model, path)
    return shown(path, kind, steps)


def shown(path: Path, kind: str, steps: int = STEPS) -> Path:
    """A model that says what its frames are made from."""
    model = onnx.load(path)
    said = {"kind": kind, "time_steps": steps, "height": HEIGHT, "width": WIDTH}
    entry = model.metadata_props.add()
    entry.key, entry.value = PREPROCESSING, json.dumps(said)
    onnx.save(model, path)
    return path


def compiled(model: Path, target: str, folder: Path, name: str = "net") -> Path:
    """The folder of a library."""
    return hqc.compile(model, target, folder, name=name).folder


def defined(folder: Path, name: str = "net") -> dict[str, float]:
    """The numbers that a model's header defines, by what follows the model's name."""
    found = re.findall(
        rf"#define {name.upper()}_(\w+) (-?[\d.e+-]+)", folder.joinpath(f"{name}.h").read_text()
    )
    return {key: float(value) for key, value in found}


def linked(target: str, library: Path, source: str, folder: Path, *flags: str) -> list[str]:
    """Link a C file of this folder with a library called net; the command that runs it here."""
    machine = load_target(target)
    folder.mkdir(exist_ok=True)
    files = [str(HERE / source), str(library / "libnet.a")]
    flags = ("-Werror", f"-I{library}", *flags)
    Toolchain.of(machine).program(files, "program", folder, flags)
    return program_command(machine, folder / "program")


class Calls:
    """Calls of entries by calls.c, and their answers."""

    def __init__(self, library: Path) -> None:
        self.sizes = defined(library)
        self.asked: list[tuple[str, bytes]] = []

    def __call__(self, letter: str, given: np.ndarray | None = None) -> int:
        """Add a call; returns its place among the answers."""
        data = b"" if given is None else given.tobytes()
        if letter in "Ee":
            data = (len(data) // 16).to_bytes(4, "little") + data
        self.asked.append((letter, data))
        return len(self.asked) - 1

    def answers(self, command: Sequence[str]) -> list[tuple[int, np.ndarray]]:
        """The status and the bits that each call gives."""
        feed = b"".join(letter.encode() + data for letter, data in self.asked)
        done = subprocess.run(command, input=feed, capture_output=True, check=True)
        words = np.frombuffer(done.stdout, "<u4").reshape(-1, 1 + int(self.sizes["OUTPUT_SIZE"]))
        assert len(words) == len(self.asked), done.stderr.decode()
        return [(int(row[0].astype(np.int32)), row[1:]) for row in words]


UNTOUCHED = 0x5A5A5A5A
OK, ARENA_SIZE, NOT_READY, TIME_STEPS, OUTSIDE, CODE = 0, 2, 5, 6, 7, 8


def floats(bits: np.ndarray) -> np.ndarray:
    """Logits of their bits."""
    return bits.view(np.float32)


def events_as_words(events: np.ndarray) -> np.ndarray:
    """[events, 4] of time, x, y and polarity, as calls.c takes them."""
    return np.stack([events[k] for k in ("t", "x", "y", "p")], 1).astype("<u4")
