"""What every kernel of a compiled model does under QEMU: instructions, and misses of its caches."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np

from hqc.artifact import Artifact
from hqc.codegen.toolchain import Toolchain
from hqc.emulator import emulator_command, program_command
from hqc.errors import ToolError
from hqc.targets import Target, load_target
from hqc.tracing import copy_library, link_traced

_PLUGIN = "count_kernels"
MARKER_SOURCE = "#include <stdint.h>\n\nvoid {marker}(int32_t kernel)\n{{\n    (void)kernel;\n}}\n"
"""What a plugin watches, in C: a function that does nothing. To be formatted with its name."""


@dataclass(frozen=True)
class Counts:
    """What a part of a program did.

    `accesses` are loads and stores, as the emulator splits them, and `misses` those lines that a
    cache did not hold, by cache. They are 0 and empty where the target's caches are not known in
    full.
    """

    instructions: int
    accesses: int = 0
    misses: Mapping[str, int] = field(default_factory=dict)


def total(counts: Sequence[Counts]) -> Counts:
    """The sum of parts that were counted under the same caches."""
    return Counts(
        sum(c.instructions for c in counts),
        sum(c.accesses for c in counts),
        {
            name: sum(c.misses[name] for c in counts)
            for name in (counts[0].misses if counts else {})
        },
    )


def estimated_cycles(target: Target, counts: Counts) -> float | None:
    """An estimate of cycles, by the constants of the target's `cycles`.

    None where it says none, or misses of a cache that were not counted.
    """
    costs = dict(target.cycles)
    instruction = costs.pop("instruction", None)
    if instruction is None or not costs.keys() <= counts.misses.keys():
        return None
    misses = sum(cost * counts.misses[name] for name, cost in costs.items())
    return counts.instructions * instruction + misses


def estimated_ms(target: Target, counts: Counts) -> float | None:
    """An estimate of milliseconds: the estimated cycles at the target's clock, None without one."""
    cycles = estimated_cycles(target, counts)
    return None if cycles is None or not target.clock else cycles / target.clock * 1e3


def counting_emulator(target: Target) -> list[str]:
    """The command of the target's emulator, which counts instructions.

    Raises `ToolError` where it is none of QEMU's, or missing.
    """
    command = emulator_command(target)
    if not Path(command[0]).name.startswith("qemu-"):
        raise ToolError(
            f"target {target.name} runs here under {command[0]}, which does not count instructions",
            hint='name an emulator of QEMU in a target that extends it: emulate "qemu-..."',
        )
    return command


def count_kernels(
    artifact: Artifact, recordings: Sequence[np.ndarray], cc: str | None = None
) -> tuple[list[Counts], np.ndarray]:
    """The counts of every kernel, for the first recording, and logits [recordings, classes].

    The first recording, frames [T, 1, C, H, W], is run once before it is counted, so that the
    caches hold what an inference leaves. Raises `ToolError` as `counting_emulator` does, where the
    emulator loads no plugins, and where the program has no symbols.
    """
    target, name = artifact.target, artifact.name
    command = counting_emulator(target)
    with tempfile.TemporaryDirectory(prefix="hqc-count-") as temporary:
        folder = Path(temporary)
        shutil.copy(artifact.folder / f"{name}_runner.c", folder)
        (folder / "marker.c").write_text(MARKER_SOURCE.format(marker=f"{name}_trace"))
        copy_library(artifact, folder)
        sources, toolchain = [f"{name}_runner.c", "marker.c"], Toolchain.of(target, cc)
        program = link_traced(toolchain, name, sources, "count", folder)
        frames = b"".join(f.tobytes() for f in (recordings[0], *recordings))
        said, rows = run_counted(target, program, ["run"], frames, f"{name}_trace", folder)
    runs, calls = len(recordings) + 1, len(artifact.manifest["kernels"]) + 1
    if len(rows) != runs * calls:
        raise ToolError(
            f"{command[0]} saw {len(rows)} calls of {name}_trace, not {runs * calls}",
            hint="the C compiler must keep the symbols of programs, and not optimize across files",
        )
    logits = np.frombuffer(said, "<f4").reshape(runs, -1)[1:]
    counted = np.diff(rows.reshape(runs, calls, -1)[1], axis=0)
    return [_counts(target, row) for row in counted.tolist()], logits


def _counts(target: Target, row: Sequence[int]) -> Counts:
    instructions, *rest = row
    accesses, *misses = rest or [0]
    return Counts(instructions, accesses, dict(zip(target.data_caches, misses, strict=True)))


def run_counted(
    target: Target,
    program: Path,
    arguments: Sequence[str],
    given: bytes,
    marker: str,
    folder: Path,
) -> tuple[bytes, np.ndarray]:
    """Run a program of a target on its standard input: what it said, and a row a call of `marker`.

    A row of uint64 holds instructions so far, and where the target's data caches are known in full
    loads and stores, and misses of each cache. They do not change from run to run: the program gets
    no environment, which would move its stack. The plugin is built in the folder. Raises
    `ToolError`.
    """
    plugin, output = _build_plugin(folder), folder / "rows"
    output.unlink(missing_ok=True)
    caches = [
        f"cache={c.size // (c.ways * target.cache_line)}:{c.ways}:{c.replacement}"
        for c in target.data_caches.values()
    ]
    options = [str(plugin), f"marker={marker}", f"output={output}", f"line={target.cache_line}"]
    emulator, *command = program_command(target, program, *arguments)
    plugged = ["-d", "plugin", "-plugin", ",".join([*options, *caches])]
    command = [shutil.which(emulator) or emulator, *plugged, *command]
    done = subprocess.run(command, input=given, capture_output=True, check=False, env={})
    said = done.stderr.decode(errors="replace").strip()
    if not output.exists():
        raise ToolError(
            f"{emulator} does not load hqc's plugin: {said or f'exit code {done.returncode}'}",
            hint="hqc needs QEMU 7 or later, built with plugins: that of Debian 12 is, "
            "the static qemu-user of Debian 13 is not",
        )
    if done.returncode:
        raise ToolError(f"{shlex.join(command)} failed: {said or done.returncode}")
    columns = 2 + len(caches) if caches else 1
    return done.stdout, np.fromfile(output, "<u8").reshape(-1, columns)


def _build_plugin(folder: Path) -> Path:
    text = (resources.files("hqc.runtimes.qemu") / f"{_PLUGIN}.c").read_text()
    (folder / f"{_PLUGIN}.c").write_text(text)
    host = Toolchain.of(load_target("host"))
    host.share([host.compile(f"{_PLUGIN}.c", folder)], f"{_PLUGIN}.so", folder)
    return folder / f"{_PLUGIN}.so"
