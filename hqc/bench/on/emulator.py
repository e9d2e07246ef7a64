"""A benchmark where there is no board: instructions and cache misses under QEMU, also of peers."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hqc.bench.counted_peer import check_counted, count_peer
from hqc.bench.on.place import Job, Result, place
from hqc.compiler import compile as compile_model
from hqc.compiler import lower, pipeline_for
from hqc.emulator import emulator_command
from hqc.errors import UserError
from hqc.frontend.load import load_model
from hqc.kernel_counts import Counts, count_kernels, estimated_ms, total
from hqc.reference import ReferenceSession
from hqc.targets import Target, load_target
from hqc.version import VERSION


@place("emulator", "emulator")
def run_emulated(name: str, job: Job) -> Result:
    """Count an inference of the first recording, kernel by kernel; compare the logits of all.

    Raises `UserError` where the job names no machine but the host, or one that is not emulated, and
    for peers that do not run there.
    """
    target = _machine(name, job)
    check_counted(job.peers, target)
    with tempfile.TemporaryDirectory(prefix="hqc-bench-") as temporary:
        artifact = compile_model(
            job.model,
            job.target,
            Path(temporary, "build"),
            bind=job.bind,
            calibrate=job.calibrate,
            cc=job.cc,
            progress=job.progress,
        )
        frames = [r.frames for r in job.recordings]
        job.progress("count instructions and cache misses")
        counts, logits = count_kernels(artifact, frames, job.cc)
        job.progress("compare logits")
        dialect = load_model(artifact.model_file)
        kernels = artifact.manifest["kernels"]
        model = artifact.name
    inputs = dialect.graph.inputs[0].name
    reference = ReferenceSession(lower(dialect, pipeline_for(target)).integer)
    expected = [reference.run({inputs: x})[0].reshape(-1) for x in frames]
    whole = total(counts)
    return Result(
        model=model,
        model_sha256=hashlib.sha256(job.model.read_bytes()).hexdigest(),
        hqc=VERSION,
        target=target.name,
        place=name,
        recordings=len(frames),
        equal=sum(np.array_equal(a, b) for a, b in zip(logits, expected, strict=True)),
        device=_device(target),
        instructions=whole.instructions,
        cache_misses=whole.misses,
        estimated_ms=estimated_ms(target, whole),
        kernels=[
            {
                "name": kernel["name"],
                "instructions": c.instructions,
                "accesses": c.accesses or None,
                "cache_misses": c.misses,
                "estimated_ms": estimated_ms(target, c),
            }
            for kernel, c in zip(kernels, counts, strict=True)
        ],
        peers=_count_peers(job, target, whole),
    )


def _count_peers(job: Job, target: Target, own: Counts) -> Mapping[str, Mapping[str, Any]]:
    """What `Result.peers` says, of the first recording."""
    found = {}
    for name in job.peers:
        job.progress(f"count {name}")
        model = load_model(job.model, job.bind)
        peer = count_peer(name, model, target, job.recordings[0].frames, job.cc)
        found[name] = {
            "instructions": peer.instructions,
            "ratio": peer.instructions / own.instructions,
            "logits_error": peer.logits_error,
        }
    return found


def _machine(name: str, job: Job) -> Target:
    target = load_target(job.target) if job.target else None
    if target is None or target.is_host:
        said = f"--target {target.name} is this machine" if target else "no machine is named"
        raise UserError(
            f"--on {name}: {said}", hint="name one that is emulated, e.g. --target arm-a72"
        )
    if not job.recordings:
        raise UserError(f"--on {name}: there are no recordings", hint="name some with --data")
    emulator_command(target)
    return target


def _device(target: Target) -> dict[str, object]:
    """The machine that is emulated, as far as the counts depend on it."""
    caches = {
        name: f"{cache.size >> 10} KiB, {cache.ways} ways, {cache.replacement}"
        for name, cache in target.data_caches.items()
    }
    return {"emulator": emulator_command(target)[0], "machine": target.about, "caches": caches}
