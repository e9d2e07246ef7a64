"""What each kernel of a compiled model takes: time, instructions, and the energy beside them."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from itertools import islice
from os import PathLike
from pathlib import Path
from string import Template

import numpy as np

from hqc.artifact import Artifact
from hqc.codegen.toolchain import Toolchain
from hqc.data.recordings import Recording, read_recordings
from hqc.emulator import emulator_command
from hqc.energy import Estimate, estimate
from hqc.energy.count_model import count_model
from hqc.energy.estimate import LayerEstimate
from hqc.errors import ToolError, UserError
from hqc.frontend.load import load_model
from hqc.kernel_counts import Counts, count_kernels, estimated_ms
from hqc.targets import EnergyProfile, Target
from hqc.tracing import copy_library, link_traced

Progress = Callable[[str], None]


@dataclass(frozen=True)
class KernelProfile:
    """One kernel of an inference, and the layer that it computes.

    `milliseconds` is the median over rounds, averaged over recordings; None where the program is
    emulated. `instructions`, and `cache_misses` by cache, are those of one recording under an
    emulator; None and empty elsewhere, or where the target does not say its caches. `estimated_ms`
    is an estimate from both, None where the target has no constants for it. `floor_ms` and
    `floor_instructions` are what adding the weights of every spike, or reading the weights once,
    would take at least. `rate`, `operations` and `energy_pj` are the energy model's, of the layers
    that the kernel computes; None for kernels that no layer is behind.
    """

    name: str
    op: str
    precision: str | None
    milliseconds: float | None
    floor_ms: float | None
    instructions: int | None
    cache_misses: Mapping[str, int]
    estimated_ms: float | None
    floor_instructions: float | None
    rate: float | None
    operations: float | None
    weight_bytes: int
    arena_bytes: int
    energy_pj: float | None


@dataclass(frozen=True)
class Profile:
    """A profile of a compiled model.

    `byte_additions` is how many bytes a second the machine can add: measured on the host, one
    vector a cycle where the target says its clock, else 0. `memory` is bytes of code, weights,
    arena and stack, as the manifest has them.
    """

    target: str
    recordings: int
    byte_additions: float
    memory: Mapping[str, int]
    kernels: Sequence[KernelProfile]
    energy: Estimate

    @property
    def milliseconds(self) -> float | None:
        """An inference, as the sum of its kernels."""
        return _total([k.milliseconds for k in self.kernels])

    @property
    def instructions(self) -> float | None:
        """Instructions of an inference."""
        return _total([k.instructions for k in self.kernels])

    @property
    def cache_misses(self) -> dict[str, int]:
        """Cache misses of an inference, by cache; empty where they are not counted."""
        names = self.kernels[0].cache_misses
        return {name: sum(k.cache_misses[name] for k in self.kernels) for name in names}

    @property
    def estimated_ms(self) -> float | None:
        """An estimate of an inference's milliseconds, from instructions and cache misses."""
        return _total([k.estimated_ms for k in self.kernels])

    def as_dict(self) -> dict:
        """Everything, as JSON stores it."""
        return {
            "target": self.target,
            "recordings": self.recordings,
            "byte_additions_per_second": self.byte_additions or None,
            "memory": dict(self.memory),
            "milliseconds": self.milliseconds,
            "instructions": self.instructions,
            "cache_misses": self.cache_misses,
            "estimated_ms": self.estimated_ms,
            "kernels": [asdict(k) for k in self.kernels],
            "energy": self.energy.as_dict(),
        }


def _total(values: Sequence) -> float | None:
    return None if any(v is None for v in values) else sum(values)


def _lanes(target: Target) -> int:
    """Bytes of a vector; without vectors, of a register of 64 bits."""
    return target.vector_bits // 8 or 8


def profile_artifact(
    artifact: Artifact,
    energy_profile: EnergyProfile,
    *,
    data: str | PathLike[str] | None = None,
    limit: int | None = 10,
    rounds: int = 15,
    threads: int = 1,
    cc: str | None = None,
    progress: Progress = lambda text: None,
) -> Profile:
    """Run a compiled model kernel by kernel, and its dialect model for rates and energy.

    `data` are recordings; without them those that it was compiled with serve. At most `limit` are
    used. On the host kernels are timed, on so many `threads`; under QEMU their instructions are
    counted, of one thread. Raises `UserError` without recordings, for a target that does not run
    here, and for more threads than the model was compiled for.
    """
    _check_threads(artifact, threads)
    target, loaded = artifact.target, load_model(artifact.model_file)
    emulator_command(target)
    frames = [r.frames for r in recordings_of(artifact, data, limit)]
    progress("count operations")
    counts, precisions = count_model(loaded, frames)
    found = estimate(counts, precisions, energy_profile, artifact.manifest["input"]["shape"][0])
    kernels = artifact.manifest["kernels"]
    milliseconds: Sequence[float | None] = [None] * len(kernels)
    counted: Sequence[Counts | None] = [None] * len(kernels)
    if target.is_host:
        progress("measure")
        milliseconds, byte_additions = time_kernels(artifact, frames, rounds, threads, cc)
    else:
        progress("count instructions")
        byte_additions = target.clock * _lanes(target)
        counted, _ = count_kernels(artifact, frames[:1], cc)
    rows = zip(kernels, _layers(kernels, found), milliseconds, counted, strict=True)
    profiles = [
        _kernel(kernel, layers, artifact, ms, done, byte_additions)
        for kernel, layers, ms, done in rows
    ]
    memory = artifact.manifest["memory"]
    return Profile(target.name, len(frames), byte_additions, memory, profiles, found)


def _check_threads(artifact: Artifact, threads: int) -> None:
    most = artifact.manifest["threads"]
    if not 1 <= threads <= most:
        raise UserError(
            f"{threads} threads cannot share an inference of {artifact.folder}, which is compiled "
            f"for {most}",
            hint="compile its model with --threads N, and ask for 1 to N",
        )
    if threads > 1 and not artifact.target.is_host:
        raise UserError(
            f"under an emulator, as for {artifact.target.name}, one thread is counted",
            hint="leave out --threads",
        )


def recordings_of(
    artifact: Artifact, data: str | PathLike[str] | None, limit: int | None = None
) -> list[Recording]:
    """Recordings for a compiled model: those of `data`, or those that it was compiled with."""
    source = data or artifact.recordings
    if source is None:
        raise UserError(
            f"there are no recordings to run {artifact.folder} on", hint="name some with --data"
        )
    manifest = artifact.manifest
    return read_recordings(source, manifest["input"]["shape"], manifest["preprocessing"], limit)


def time_kernels(
    artifact: Artifact,
    frames: Sequence[np.ndarray],
    rounds: int,
    threads: int,
    cc: str | None = None,
) -> tuple[list[float], float]:
    """Milliseconds of every kernel on the host, the median over rounds, averaged over recordings;
    and how many bytes a second this machine can add."""
    with tempfile.TemporaryDirectory(prefix="hqc-profile-") as temporary:
        program = _link(artifact, Path(temporary), cc)
        return _time(program, frames, len(artifact.manifest["kernels"]), rounds, threads)


def _link(artifact: Artifact, folder: Path, cc: str | None) -> Path:
    name, kernels = artifact.name, len(artifact.manifest["kernels"])
    template = (resources.files("hqc.runtimes.c") / "trace.c.in").read_text()
    text = Template(template).substitute(name=name, NAME=name.upper(), kernels=kernels)
    (folder / f"{name}_trace.c").write_text(text)
    copy_library(artifact, folder)
    toolchain, flags = Toolchain.of(artifact.target, cc), ["-O3", "-march=native"]
    sources = [f"{name}_trace.c"]
    if artifact.manifest["threads"] > 1:
        sources, flags = [*sources, "hqc_pthread.c"], [*flags, "-pthread"]
    return link_traced(toolchain, name, sources, "trace", folder, flags)


def _run(command: Sequence[str], recordings: Path) -> subprocess.CompletedProcess:
    """Run on a file: a pipe would give the frames in pieces, and a loop more for each."""
    with recordings.open("rb") as frames:
        done = subprocess.run(command, stdin=frames, capture_output=True, check=False)
    if done.returncode:
        raise ToolError(
            f"{shlex.join(command)} failed: "
            f"{done.stderr.decode(errors='replace').strip() or done.returncode}"
        )
    return done


def _time(
    program: Path, frames: Sequence[np.ndarray], kernels: int, rounds: int, threads: int
) -> tuple[list[float], float]:
    """Milliseconds of every kernel, and how many bytes a second this machine can add."""
    file = program.with_name("frames")
    file.write_bytes(b"".join(f.tobytes() for f in frames))
    said = np.frombuffer(_run([str(program), str(rounds), str(threads)], file).stdout, "<u8")
    *_, added, nanoseconds = said
    taken = said[:-2].reshape(len(frames), rounds, kernels)
    return [float(ns) / 1e6 for ns in np.median(taken, 1).mean(0)], added / nanoseconds * 1e9


def _kernel(
    kernel: dict,
    layers: Sequence[LayerEstimate],
    artifact: Artifact,
    milliseconds: float | None,
    counts: Counts | None,
    byte_additions: float,
) -> KernelProfile:
    least = max(sum(x.counts.additions for x in layers), kernel["weight_bytes"])
    areas = artifact.manifest["areas"]["run"]
    return KernelProfile(
        kernel["name"],
        kernel["op"],
        str(layers[0].precision) if kernel["layer"] else None,
        milliseconds,
        least / byte_additions * 1e3 if layers and byte_additions else None,
        counts.instructions if counts else None,
        counts.misses if counts else {},
        estimated_ms(artifact.target, counts) if counts else None,
        least / _lanes(artifact.target) if layers else None,
        layers[0].counts.rate if layers else None,
        sum(x.counts.operations for x in layers) if layers else None,
        kernel["weight_bytes"],
        sum(a["bytes"] for a in areas if a["name"].removesuffix(":out") == kernel["name"]),
        sum(x.energy.total for x in layers) if layers else None,
    )


def _layers(kernels: Sequence[dict], found: Estimate) -> list[list[LayerEstimate]]:
    """The layers behind each kernel: that of its weights; an attention's two products, in order."""
    by_name = {x.counts.name: x for x in found.layers}
    products = iter([x for x in found.layers if x.counts.kind == "product"])
    behind = []
    for kernel in kernels:
        if kernel["op"] == "PackedAttention":
            behind.append(list(islice(products, 2)))
        else:
            behind.append([by_name[kernel["layer"]]] if kernel["layer"] else [])
    return behind
