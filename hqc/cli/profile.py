"""hqc profile."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from hqc.cli.application import Output, cc_option, cli, inference_threads_option, output_options
from hqc.cli.energy import profile_option


@cli.command("profile")
@click.argument("build", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Recordings to run (default: those that BUILD was compiled with).",
)
@profile_option
@click.option("--rounds", type=click.IntRange(1), default=15, show_default=True)
@inference_threads_option
@cc_option
@output_options
def profile_(
    out: Output,
    build: Path,
    data: Path | None,
    profile: str,
    rounds: int,
    threads: int,
    cc: str | None,
) -> None:
    """Measure BUILD, a folder made by `hqc compile`, kernel by kernel, beside its energy model.

    For the host kernels are timed, for targets under QEMU instructions and cache misses are
    counted, and time is estimated from them where the target says how. The floor is the time to add
    the weights of every spike as bytes, or to read the weights once: as fast as this machine adds,
    for other targets at one vector a cycle.

    \b
    Examples:
      hqc profile build-host/ --data recordings/
      hqc profile build-host/ --threads 2
      hqc profile build-arm/ --data recordings/ --json
    """
    from hqc.artifact import Artifact
    from hqc.profiling import profile_artifact
    from hqc.targets import load_profile

    found = profile_artifact(
        Artifact.open(build),
        load_profile(profile),
        data=data,
        rounds=rounds,
        threads=threads,
        cc=cc,
        progress=out.progress,
    )
    measured, unit, scale = ("milliseconds", "ms", 1.0)
    if found.milliseconds is None:
        measured, unit, scale = "instructions", "M instr.", 1e6
    total = getattr(found, measured)
    width = max(len(k.name) for k in found.kernels)
    lines = [
        f"{'kernel':{width}}  {'op':15}  bits  rate   operations  {unit:>8}   share  floor ms  "
        f"arena B  energy nJ"
    ]
    for kernel in found.kernels:
        value = getattr(kernel, measured)
        lines.append(
            f"{kernel.name:{width}}  {kernel.op:15}  {kernel.precision or '':4}  "
            f"{_shown(kernel.rate, '.3f'):5} {_shown(kernel.operations, ',.0f'):>12}  "
            f"{_shown(value and value / scale, '.4f'):>8}  "
            f"{_shown(value and value / total, '.1%'):>6}  {_shown(kernel.floor_ms, '.4f'):>8}  "
            f"{kernel.arena_bytes:7,}  "
            f"{_shown(kernel.energy_pj and kernel.energy_pj / 1e3, ',.1f'):>9}"
        )
    lines.append("")
    lines.append(
        f"{_shown(total and total / scale, '.3f')} {unit} an inference on {found.target}, "
        f"{found.energy.total.energy / 1e3:,.1f} nJ by {found.energy.profile.name}; "
        f"{found.recordings} recordings"
    )
    lines.append(_memory(found.memory))
    if found.cache_misses:
        misses = ", ".join(f"{count:,} of {name}" for name, count in found.cache_misses.items())
        lines.append(f"cache misses: {misses}")
    if found.estimated_ms is not None:
        lines.append(f"{found.estimated_ms:.3f} ms an inference, estimated as the target says")
    out.result(found.as_dict(), "\n".join(lines))


def _memory(said: Mapping[str, int]) -> str:
    code = f"{said['code_bytes']:,}" if said["code_bytes"] else "not known"
    return (
        f"bytes of code: {code}, of weights: {said['weight_bytes']:,}, "
        f"of the arena: {said['arena_bytes']:,}"
    )


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
