"""Running the benchmark's program on a machine with Linux or Android, by its shell."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import hqc
from hqc.artifact import Artifact
from hqc.bench.on.place import Job, Result
from hqc.bench_program import has_linux
from hqc.errors import UserError
from hqc.targets import Target, load_target

_CORES = {
    "0xc07": ("Cortex-A7", "armv7-a7"),
    "0xd03": ("Cortex-A53", "arm-a53"),
    "0xd05": ("Cortex-A55", "arm-a55"),
    "0xd08": ("Cortex-A72", "arm-a72"),
    "0xd0b": ("Cortex-A76", "arm-a76"),
    "0xd41": ("Cortex-A78", "arm-a78"),
    "0xd44": ("Cortex-X1", "arm-x1"),
}
"""Cores of ARM by their part number in MIDR_EL1, and the targets for them."""

_PATIENCE = 60.0
"""Seconds that a command may take beside what it measures."""


class Machine(Protocol):
    """A machine to run on, and the `folder` in which one for the program is made.

    `elsewhere` says how to name another folder; `product` is what it is sold as, if it says so.
    """

    folder: str
    elsewhere: str
    product: str | None

    def shell(self, command: str, seconds: float) -> subprocess.CompletedProcess[str]:
        """Run a command; its exit code is 128 + n where signal n ended it.

        Raises `UserError` where the machine is not reached, or gives no answer for so long.
        """

    def put(self, file: Path, path: str) -> subprocess.CompletedProcess[str]:
        """Copy a file there. Raises as `shell` does."""


def call(
    command: Sequence[str], seconds: float | None = None, given: Path = Path(os.devnull)
) -> subprocess.CompletedProcess[str]:
    """Run a command here, with a file as its input. Raises `UserError` where it takes too long."""
    try:
        with given.open("rb") as source:
            return subprocess.run(
                command,
                stdin=source,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=seconds,
            )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"the device gave no answer within {seconds:.0f} s",
            hint="does it sleep? keep it awake, or take fewer recordings (--data)",
        ) from None


@dataclass(frozen=True)
class Processor:
    """What a machine says of its processor: `uname -m`, and /proc/cpuinfo."""

    architecture: str
    cpuinfo: str

    def part(self, cpu: int | None) -> str | None:
        """The number of an ARM core's part: of one processor, or of the last, which is largest."""
        parts = {}
        for block in self.cpuinfo.split("\n\n"):
            number = re.search(r"^processor\s*: (\d+)", block, re.MULTILINE)
            part = re.search(r"^CPU part\s*: (\w+)", block, re.MULTILINE)
            if number and part:
                parts[int(number[1])] = part[1]
        return parts.get(max(parts, default=0) if cpu is None else cpu)

    @property
    def features(self) -> frozenset[str]:
        """Names of features, as Linux writes them; single letters on RISC-V."""
        found = re.search(r"^(?:Features|flags)\s*: (.*)", self.cpuinfo, re.MULTILINE)
        isa = re.search(r"^isa\s*: rv\d\d([a-z]*)", self.cpuinfo, re.MULTILINE)
        return frozenset([*(found[1].split() if found else ()), *(isa[1] if isa else ())])


def this_processor() -> Processor:
    """That of the machine hqc runs on."""
    return Processor(platform.machine(), Path("/proc/cpuinfo").read_text())


def fitting_target(processor: Processor, cpu: int | None = None) -> str:
    """The name of the target for a processor. Raises `UserError` where there is none."""
    machine = processor.architecture
    if machine in ("aarch64", "arm64", "armv7l", "armv8l"):
        general = "armv8-a" if machine in ("aarch64", "arm64") else "armv7-a7"
        name = _CORES.get(processor.part(cpu) or "", ("", general))[1]
        # A 32-bit system on a 64-bit core runs 32-bit programs.
        name = name if fault_of(load_target(name), processor) is None else general
    elif machine == "riscv64":
        name = "rv64gcv" if "v" in processor.features else "rv64gc"
    elif machine == platform.machine():
        name = "host"
    else:
        raise UserError(
            f"no target of hqc fits a machine of {machine}",
            hint="name one of your own with --target; docs/target-files.md says how it is written",
        )
    check_fits(load_target(name), processor)
    return name


def fault_of(target: Target, processor: Processor) -> str | None:
    """Why programs of a target cannot run on a processor; None where they may."""
    triple, machine = target.llvm["triple"], processor.architecture
    features = target.llvm.get("features", "").split(",")
    if not has_linux(target):
        return "is for machines without Linux"
    wanted = platform.machine() if target.is_host else triple.partition("-")[0]
    if _family(wanted) != _family(machine):
        return f"is for {wanted}, the machine is {machine}"
    if "+v" in features and "v" not in processor.features:
        return "uses vectors, which the machine does not have"
    if "+neon" in features and not {"neon", "asimd"} & processor.features:
        return "uses NEON, which the machine does not have"
    missing = this_processor().features - processor.features if target.is_host else ()
    if missing and machine == "x86_64":
        return f"is this processor; that one lacks {', '.join(sorted(missing)[:5])}"
    return None


def _family(architecture: str) -> str:
    """An architecture of triples or of uname, by one name; of 32-bit ARM with its version."""
    if re.match("armv[78]|thumb", architecture):
        return "armv7"
    return {"arm64": "aarch64"}.get(architecture, architecture)


def check_fits(target: Target, processor: Processor) -> None:
    """Raise `UserError` where programs of a target cannot run on a processor."""
    fault = fault_of(target, processor)
    if fault:
        if target.is_host:
            hint = "write a target file for it (docs/target-files.md) and name it with --target"
        else:
            hint = "leave --target out to have one chosen"
        raise UserError(f"target {target.name} {fault}", hint=hint)


def bench_on(machine: Machine, place: str, job: Job) -> Result:
    """Compile a job's model for a machine, run the benchmark there, and remove it.

    Raises `UserError` for whatever keeps it from running to its end.
    """
    processor = ask_processor(machine)
    target = job.target or fitting_target(processor, job.cpu)
    check_fits(load_target(target), processor)
    with tempfile.TemporaryDirectory(prefix="hqc-bench-") as folder:
        artifact = hqc.compile(
            job.model,
            target,
            Path(folder, "build"),
            bind=job.bind,
            calibrate=job.calibrate,
            cc=job.cc,
            bench=job.recordings,
            progress=job.progress,
        )
        said = run_program(machine, artifact.file("_bench"), job)
        return result_of(said, artifact, processor, machine.product, place, job)


def ask_processor(machine: Machine) -> Processor:
    """What a machine's processor is. Raises `UserError` where it has no Linux."""
    done = machine.shell("uname -s && uname -m && cat /proc/cpuinfo", _PATIENCE)
    system, _, rest = done.stdout.partition("\n")
    if done.returncode or system.strip() != "Linux":
        raise UserError(
            f"the machine runs no Linux: {system or done.stderr.strip() or 'it says nothing'}",
            hint="the benchmark's program is for Linux and Android",
        )
    architecture, _, cpuinfo = rest.partition("\n")
    return Processor(architecture.strip(), cpuinfo)


def run_program(machine: Machine, program: Path, job: Job) -> dict:
    """Copy the program to a folder of its own, run it, and remove the folder; what it said."""
    options = ["--json", "--seconds", str(job.seconds)]
    if job.cpu is not None:
        options += ["--cpu", str(job.cpu)]
    name = program.name
    with _temporary_folder(machine) as folder:
        job.progress("copy the program")
        copied = machine.put(program, f"{folder}/{name}")
        if copied.returncode == 0:
            copied = machine.shell(f"chmod 700 {shlex.quote(f'{folder}/{name}')}", _PATIENCE)
        if copied.returncode:
            raise _not_copied(machine, copied.stderr.strip() or copied.stdout.strip())
        job.progress("measure")
        # In the background, so that its number is known and can be ended.
        command = (
            f"cd {shlex.quote(folder)} && {{ ./{name} {shlex.join(options)} & echo $! >pid; "
            "wait $!; code=$?; rm pid; exit $code; }"
        )
        done = machine.shell(command, 10 * _PATIENCE + 30 * job.seconds)
    try:
        said = json.loads(done.stdout)
    except ValueError:
        raise _failed(machine, done) from None
    if said["wall_seconds"] > 2 * said["cpu_seconds"] + 1:
        raise UserError(
            f"the benchmark measured for {said['wall_seconds']:.0f} s, and for only "
            f"{said['cpu_seconds']:.0f} s of them on a processor",
            hint="keep the device awake, and end what else runs there",
        )
    return said


@contextmanager
def _temporary_folder(machine: Machine) -> Iterator[str]:
    """A new folder on a machine, removed with what runs in it at the end, however that comes."""
    pattern = shlex.quote(f"{machine.folder}/hqc-bench.XXXXXX")
    made = machine.shell(f"mktemp -d {pattern}", _PATIENCE)
    folder = made.stdout.strip()
    if made.returncode or not folder:
        raise _not_copied(machine, made.stderr.strip() or "it has no mktemp")
    quoted = shlex.quote(folder)
    failure: BaseException | None = None
    try:
        yield folder
    except BaseException as error:
        failure = error
        raise
    finally:
        try:
            machine.shell(f"kill $(cat {quoted}/pid) 2>/dev/null; rm -rf {quoted}", _PATIENCE)
        except UserError as lost:
            if failure is None or isinstance(failure, UserError):
                first = failure or lost
                raise UserError(f"{first.message}; {folder} is left there", first.hint) from None


def _not_copied(machine: Machine, said: str) -> UserError:
    full = "No space left" in said
    return UserError(
        f"cannot copy the program to {machine.folder}: {said}",
        hint=f"{'free some space there' if full else 'check that folder'}, or name another: "
        f"{machine.elsewhere}",
    )


def _failed(machine: Machine, done: subprocess.CompletedProcess[str]) -> UserError:
    """Why the program gave no result."""
    said = done.stderr.strip() or f"exit code {done.returncode}"
    hint = "run it there by hand: hqc compile --bench makes it"
    if "Exec format error" in said or "cannot execute binary" in said:
        hint = "the machine runs no programs of this target: leave --target out to have one chosen"
    elif "cannot run on processor" in said:
        hint = "name another with --cpu; they are numbered from 0"
    elif done.returncode == 126:
        hint = f"programs may not run from {machine.folder}; name a folder: {machine.elsewhere}"
    elif done.returncode == 128 + 4:
        said = "it met an instruction that the processor does not have"
        hint = "name a more general target, e.g. --target armv8-a or rv64gc"
    elif done.returncode == 128 + 9:
        said, hint = "it was killed", "is there enough memory?"
    return UserError(f"the benchmark did not run: {said}", hint=hint)


def result_of(
    said: dict, artifact: Artifact, processor: Processor, product: str | None, place: str, job: Job
) -> Result:
    """What the program said, with what is known here."""
    part = re.search(r"part (\w+)$", said["cpu"])
    core = _CORES.get(part[1], (said["cpu"],))[0] if part else said["cpu"]
    names = [kernel["name"] for kernel in artifact.manifest["kernels"]]
    return Result(
        model=artifact.name,
        model_sha256=artifact.manifest["source"]["sha256"],
        hqc=said["hqc"],
        target=artifact.target.name,
        place=place,
        recordings=said["recordings"],
        equal=said["equal"],
        device={
            "machine": product or said["machine"] or None,
            "architecture": processor.architecture,
            "cpu": core,
            "pinned_to": job.cpu,
            **{key: said[key] for key in ("clock_mhz", "temperature", "throttled")},
        },
        compiler=compiler_version(artifact.target, job.cc),
        median_ms=said["median_ms"],
        fastest_ms=said["fastest_ms"],
        percentiles_ms=said["percentiles_ms"],
        runs=said["runs"],
        init_ms=said["init_ms"],
        peak_memory_bytes=said["peak_memory_bytes"],
        kernels=[
            {"name": name, "ms": kernel["ms"]}
            for name, kernel in zip(names, said["kernels"], strict=True)
        ],
        steady=said["steady"],
    )


def compiler_version(target: Target, cc: str | None) -> str:
    """What kernels and the C around them are compiled by."""
    import tvm
    from tvm.target import codegen

    c = cc or f"zig {version('ziglang')}"
    return f"LLVM {codegen.llvm_version_major()} of TVM {tvm.__version__}, {c}"
