"""hqc bench."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hqc.cli.application import (
    OWN_ERROR,
    Output,
    bind_option,
    cc_option,
    cli,
    inference_threads_option,
    output_options,
    plot_option,
)
from hqc.errors import UserError

if TYPE_CHECKING:
    from hqc.bench.on import Job
    from hqc.bench.peer import PeerBuilder

_RECORDINGS = 10


@cli.command("bench")
@click.argument("models", nargs=-1, type=click.Path(path_type=Path), metavar="[MODEL]...")
@click.option(
    "--on",
    metavar="PLACE",
    help="Where to run: host, ssh://[USER@]HOST, adb, ..., or a file of devices.toml.",
)
@click.option("--target", help="Target to compile for (default: what fits the device).")
@click.option("--cpu", type=click.IntRange(0), help="Processor of the device to run on.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, 3600, min_open=True),
    default=1.0,
    show_default=True,
    help="Measure at least so long on a device, at most 10 times that.",
)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to serve pages to browsers at."
)
@click.option(
    "--save", type=click.Path(path_type=Path), help="Folder, or new .json file, for what was found."
)
@click.option(
    "--compare",
    nargs=2,
    type=click.Path(path_type=Path),
    metavar="A.json B.json",
    help="Compare two saved results; runs nothing.",
)
@click.option(
    "--peers",
    help="What to compare with on this machine, separated by commas: onnxruntime-fp32, "
    "onnxruntime-int8 (default: these two; none for the suite scaling), openvino-fp32, "
    "executorch-xnnpack, spikingjelly-eager, tvm-fp32 and tvm-fp32-tiled. With --on emulator: "
    "whose instructions to count beside hqc's, tvm-fp32 or tvm-fp32-tiled (default: none).",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Recordings (default: the folder `sample` beside the model, else seeded random frames).",
)
@click.option(
    "--suite",
    metavar="NAME",
    help="Measure the models of a suite, or those of them that are named: speed, scaling.",
)
@plot_option("how the times of the suite scaling grow")
@click.option("--rounds", type=click.IntRange(1), default=15, show_default=True)
@inference_threads_option
@bind_option
@cc_option
@output_options
def bench(
    out: Output,
    models: Sequence[Path],
    on: str | None,
    save: Path | None,
    compare: tuple[Path, Path] | None,
    peers: str | None,
    suite: str | None,
    plot: Path | None,
    rounds: int,
    threads: int,
    data: Path | None,
    **options: Any,
) -> None:
    """Time MODEL compiled for this machine against other runtimes, one thread, in one run.

    With --threads, time it on so many threads, too, turn by turn with the others.

    With --on, time it on a device instead: compile it, copy one program there, run it, check its
    logits bit by bit, and remove it. Exit code 1 if logits differ, or a device of many failed.
    With --on emulator, count its instructions under QEMU, and those of --peers.

    With --suite, measure many models alike: trained ones of examples/, and networks of published
    size that fire as these do (speed), or one network with more and more time steps, tokens and
    blocks (scaling). MODEL is then a name of the suite's.

    \b
    Examples:
      hqc bench model.onnx
      hqc bench model.onnx --peers onnxruntime-int8,openvino-fp32 --json
      hqc bench model.onnx --threads 4
      hqc bench model.onnx --on ssh://pi@raspberrypi.local --save runs/
      hqc bench model.onnx --on devices.toml
      hqc bench model.onnx --on emulator --target arm-a72 --peers tvm-fp32-tiled
      hqc bench --compare before.json after.json
      hqc bench --suite speed --save before.json
      hqc bench --suite speed cifar10 spikformer-4-384 --json
      hqc bench --suite scaling --plot scaling.svg
    """
    if plot and not suite:
        raise UserError("--plot draws what a suite gave", hint="hqc bench --suite scaling")
    if threads > 1 and (compare or suite or on is not None):
        raise UserError(
            "--threads is for one MODEL on this machine, beside peers",
            hint="leave out --on, --suite and --compare",
        )
    if peers is not None and on not in (None, "emulator"):
        raise UserError(
            "--peers run on this machine, or are counted with --on emulator",
            hint=f"leave out --peers, or --on {on}",
        )
    if compare:
        _compare(out, *compare)
    elif suite:
        names = list(map(str, models))
        _bench_suite(out, suite, names, peers, rounds, save, plot, options["cc"])
    elif on is None:
        if save:
            raise UserError(
                "--save keeps what a device or a suite gave", hint="say which, e.g. --on host"
            )
        if len(models) != 1:
            raise UserError("without --on it takes one MODEL", hint="hqc bench --help")
        _bench_peers(out, models[0], peers, data, rounds, threads, options["bind"], options["cc"])
    elif on.endswith(".toml"):
        _bench_devices(out, Path(on), models, data, save, options)
    else:
        _bench_place(out, on, models, peers, data, save, options)


def _job(out: Output, data: Path | None, options: dict[str, Any], model: Path) -> Job:
    """What to run. Raises `UserError` where the model or its recordings cannot be read."""
    from hqc.bench.on import Job
    from hqc.compiler import recordings_for
    from hqc.frontend.load import load_model

    loaded = load_model(model, options["bind"])
    recordings = recordings_for(model, loaded, data, _RECORDINGS)
    return Job(model, recordings, calibrate=data, progress=out.progress, **options)


def _bench_place(
    out: Output,
    on: str,
    models: Sequence[Path],
    peers: str | None,
    data: Path | None,
    save: Path | None,
    options: dict[str, Any],
) -> None:
    from hqc.bench import saved
    from hqc.bench.on import find_place
    from hqc.bench.shown import shown

    place = find_place(on)
    if len(models) != 1:
        raise UserError(f"--on {on} takes one MODEL", hint="several run with --on devices.toml")
    if save:
        saved.check_savable(save, 1)
    options = {**options, "peers": _names(peers, ())}
    result = place(on, _job(out, data, options, models[0]))
    if save:
        saved.save(result, save)
    out.result(result.as_dict(), shown(result))
    if result.equal != result.recordings:
        sys.exit(OWN_ERROR)


def _bench_devices(
    out: Output,
    file: Path,
    models: Sequence[Path],
    data: Path | None,
    save: Path | None,
    options: dict[str, Any],
) -> None:
    from hqc.bench import saved
    from hqc.bench.devices import read_devices, run_on_devices
    from hqc.bench.shown import table

    listed, devices = read_devices(file)
    models = models or listed
    if not models:
        raise UserError(f"{file} names no models, nor does the command", hint="name a MODEL")
    if save:
        saved.check_savable(save, len(models) * len(devices))
    jobs = [partial(_job, out, data, options, model) for model in models]
    outcomes = []
    for outcome in run_on_devices(jobs, list(map(str, models)), devices):
        outcomes.append(outcome)
        if save and outcome.result:
            saved.save(outcome.result, save)
    out.result([outcome.as_dict() for outcome in outcomes], table(outcomes))
    if not all(outcome.ok for outcome in outcomes):
        sys.exit(OWN_ERROR)


def _compare(out: Output, a: Path, b: Path) -> None:
    from hqc.bench import saved
    from hqc.bench.shown import compared
    from hqc.bench.suite import saved as of_suites

    if of_suites.is_suite(a):
        found = of_suites.compare(a, b)
    else:
        found = saved.compare(saved.load(a), saved.load(b))
    out.result(asdict(found), compared(found, (a.name, b.name)))


def _bench_suite(
    out: Output,
    name: str,
    models: Sequence[str],
    peers: str | None,
    rounds: int,
    save: Path | None,
    plot: Path | None,
    cc: str | None,
) -> None:
    from hqc.bench import saved
    from hqc.bench.suite import find_suite, run
    from hqc.bench.suite.growth import growth
    from hqc.bench.suite.saved import save as save_suite

    suite = find_suite(name)
    cases = suite.chosen(models)
    axes = suite.axes_through(cases)
    builders = _builders(peers, suite.peers)
    if save:
        saved.check_savable(save, 1)
    if plot:
        from hqc.bench.suite.drawn import draw_growth

        if not axes:
            raise UserError(
                f"--plot: no three of these models of the suite {name} differ in one size alone",
                hint="hqc bench --suite scaling draws all of its models",
            )
    found = run.run_suite(cases, builders, rounds, cc, out.progress)
    grown = [growth(axis, found) for axis in axes]
    said = run.as_dict(name, found, rounds, cc, grown)
    if save:
        save_suite(said, save)
    if plot:
        draw_growth(grown, plot)
    out.result(said, run.shown(found, grown))


def _builders(peers: str | None, default: Sequence[str]) -> dict[str, PeerBuilder]:
    """The builders of peers, which are separated by commas, by name."""
    from hqc.bench.peer import find_peer

    return {name: find_peer(name) for name in _names(peers, default)}


def _names(peers: str | None, default: Sequence[str]) -> Sequence[str]:
    """The names that commas separate."""
    return default if peers is None else list(filter(None, peers.split(",")))


def _bench_peers(
    out: Output,
    model: Path,
    peers: str | None,
    data: Path | None,
    rounds: int,
    threads: int,
    bind: dict[str, int],
    cc: str | None,
) -> None:
    import hqc
    from hqc.bench import bench as run_bench
    from hqc.bench.peer import DEFAULT_PEERS, Runner
    from hqc.compiler import recordings_for
    from hqc.frontend.load import load_model

    builders = _builders(peers, DEFAULT_PEERS)
    loaded = load_model(model, bind)
    frames = [r.frames for r in recordings_for(model, loaded, data, _RECORDINGS)]
    with tempfile.TemporaryDirectory(prefix="hqc-bench-") as folder:
        artifact = hqc.compile(
            model,
            "host",
            Path(folder, "build"),
            bind=bind,
            cc=cc,
            calibrate=data,
            threads=threads,
            progress=out.progress,
        )
        runners: dict[str, Runner] = {"hqc": artifact.run}
        if threads > 1:
            runners[f"hqc, {threads} threads"] = partial(artifact.run, threads=threads)
        for name, build in builders.items():
            out.progress(f"prepare {name}")
            runners[name] = build(loaded, frames)
        out.progress("measure")
        timings = run_bench(runners, frames, rounds)
    width = max(map(len, timings))
    lines = [f"{'':{width}}  ms median  fastest  times hqc  same class"]
    lines += [
        f"{name:{width}}  {t.median_ms:9.2f}  {t.fastest_ms:7.2f}  {t.ratio:9.2f}  "
        f"{t.same_class:7}/{len(frames)}"
        for name, t in timings.items()
    ]
    out.result({name: asdict(t) for name, t in timings.items()}, "\n".join(lines))
