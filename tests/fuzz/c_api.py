"""The entries of a compiled library take any calls, in any order.

    python -m tests.fuzz.c_api --count 1000000 --seed 0
    python -m tests.fuzz.c_api --count 5000 --model examples/nmnist/model.onnx
    python -m tests.fuzz.c_api --count 1000000 --libfuzzer

draws sequences of calls, right and wrong, of a library whose entries are compiled with checkers of
memory and of behaviour; c_api.c says what must hold of each.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import click

import hqc
from tests.embed.programs import STEPS, small_network

_CHECKED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
_FLAGS = ["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror"]


def build(folder: Path, model: Path | None = None, libfuzzer: bool = False) -> Path:
    """The program that makes the calls, of a model or of a small network of events."""
    model = model or small_network(folder / "small.onnx", scale=0.75, rows=STEPS)
    hqc.compile(model, "host", folder / "net", name="net")
    return linked(folder, folder / "c_api", libfuzzer)


def linked(folder: Path, program: Path, libfuzzer: bool = False) -> Path:
    """Link the program with the library that lies there."""
    library = folder / "net"
    events = ["-DNET_EVENTS"] if "net_run_events" in (library / "net.h").read_text() else []
    by = ["clang", "-fsanitize=fuzzer", "-DLIBFUZZER"] if libfuzzer else ["gcc"]
    source = Path(__file__).with_suffix(".c")
    command = [*by, *_FLAGS, *_CHECKED, *events, f"-I{library}", str(source)]
    command += [str(library / "net.c"), str(library / "libnet.a"), "-o", str(program)]
    subprocess.run(command, check=True)
    return program


def run(program: Path, count: int, seed: int) -> None:
    """Make so many sequences of calls. Raises `CalledProcessError` for one that fails."""
    subprocess.run([program, str(count), str(seed)], check=True, capture_output=True, text=True)


@click.command()
@click.option("--count", default=10_000)
@click.option("--seed", default=0)
@click.option("--model", type=click.Path(path_type=Path))
@click.option("--libfuzzer", is_flag=True, help="Let libFuzzer choose them, by what they cover.")
def main(count: int, seed: int, model: Path | None, libfuzzer: bool) -> None:
    """Make sequences of calls."""
    with tempfile.TemporaryDirectory() as folder:
        program = build(Path(folder), model, libfuzzer)
        given = [f"-runs={count}", f"-seed={seed + 1}", "-max_len=4096", "-len_control=0"]
        given.append(f"-artifact_prefix={tempfile.gettempdir()}/")
        given = given if libfuzzer else [str(count), str(seed)]
        subprocess.run([program, *given], check=True)


if __name__ == "__main__":
    main()
