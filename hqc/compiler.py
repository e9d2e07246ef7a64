"""Model to artifact: load, lower, generate, write."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np
import onnx_ir as ir

from hqc.artifact import MANIFEST, Artifact, marker_of
from hqc.atomic_files import replacing_folder
from hqc.bench_program import RECORDINGS, check_linux, link_bench
from hqc.codegen.javascript import write_package
from hqc.codegen.load_tvm import load_tvm
from hqc.codegen.names import check_name
from hqc.codegen.toolchain import Toolchain
from hqc.copies import copy_model
from hqc.data.recordings import Recording, preprocessing_of, read_recordings, sample_beside
from hqc.data.synthetic import frames_over_range, sparse_frames
from hqc.emulator import runs_here
from hqc.errors import OwnError, UserError, VerificationError
from hqc.execution import check_library
from hqc.firing_rates import annotate_firing_rates
from hqc.fit import check_fits
from hqc.frontend.load import load_model, model_name
from hqc.frontend.save import save_model
from hqc.manifest import describe
from hqc.pass_verifier import PassVerifier
from hqc.passes import DEFAULT, Observer, Pass, PassDumper, parse_pipeline, run_passes
from hqc.reference import run_reference
from hqc.targets import Target, load_target
from hqc.targets.formatting import show
from hqc.tuning import Tuner
from hqc.tuning_records import TuningRecords

CALIBRATION_RECORDINGS = 8
"""Recordings that firing rates are measured on, spread over those there are."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Stages:
    """A model at the stages that are compared with each other, as `hqc verify` does."""

    dialect: ir.Model
    integer: ir.Model
    kernels: ir.Model


def pipeline_for(target: Target, passes: str | None = None, threads: int = 1) -> list[Pass]:
    """The passes as text, or those that lead to kernels for a target, of a model whose inferences
    so many threads may share."""
    if passes is not None:
        if threads != 1:
            raise UserError(
                f"the passes, which are given, do not plan memory for {threads} threads",
                hint=f"say plan-memory{{threads={threads}}} among them, in place of --threads",
            )
        return parse_pipeline(passes)
    return parse_pipeline(pipeline_text(target, threads))


def pipeline_text(target: Target, threads: int = 1) -> str:
    """The passes that lead to kernels for a target, as text."""
    vectors = f"vector_bits={target.vector_bits}"
    text = DEFAULT.replace("plan-memory", f"plan-memory{{{vectors},threads={threads}}}")
    options = (
        f"{vectors},word_bits={target.word_bits},listing={target.listing},dots={target.dots},"
        f"first_cache={target.first_cache},"
    ) + ",".join(f"{part}={cost}" for part, cost in asdict(target.costs).items())
    if target.optimize == "size":
        text = text.replace("make-integer", "make-integer{potential_bits=16}")
        options += ",widen=0"
    return text.replace("choose-kernels", f"choose-kernels{{{options}}}")


def lower(
    model: ir.Model,
    steps: Sequence[Pass],
    *,
    calibration: Sequence[np.ndarray] = (),
    verify_each: bool = False,
    tuner: Observer | None = None,
    dump: PassDumper | None = None,
    progress: Progress = lambda text: None,
) -> Stages:
    """Run the passes; keep the integer model on the way.

    Firing rates are measured on the `calibration` frames once the model is packed; a `tuner` is
    called then. With `verify_each` the model is run before and after each pass, on those frames or
    on noise.
    """
    name = model.graph.inputs[0].name
    stages = {"dialect": copy_model(model)}

    def keep_integer(step: Pass, after: ir.Model) -> None:
        progress(step.name)
        if step.name == "make-integer":
            stages["integer"] = copy_model(after)

    def calibrate(step: Pass, after: ir.Model) -> None:
        if step.name == "pack-spikes" and calibration:
            annotate_firing_rates(after, calibration)

    observers: list = [keep_integer, calibrate]
    if tuner:
        observers.append(tuner)
    if verify_each:
        observers.append(PassVerifier(model, {name: _frames(model, calibration)}))
    if dump:
        observers.append(dump)
    try:
        lowered = run_passes(model, steps, observers)
    except (VerificationError, OwnError):
        _check_runs(stages["dialect"])
        raise
    _check_runs(stages["dialect"])
    return Stages(stages["dialect"], stages.get("integer", lowered), lowered)


def _check_runs(dialect: ir.Model) -> None:
    """Run a model once: what the checker lets pass and onnxruntime does not run means nothing.

    Raises `NotRunnableError`.
    """
    (frames,) = dialect.graph.inputs
    run_reference(dialect, {frames.name: np.zeros(frames.shape.numpy(), np.float32)})


def _frames(dialect: ir.Model, calibration: Sequence[np.ndarray]) -> np.ndarray:
    """Frames to verify on: the first recording, else noise."""
    noise = next(r for r in frames_over_range(dialect) if r.name == "noise")
    return calibration[0] if calibration else noise.frames


def compile(
    model: str | PathLike[str],
    target: str = "host",
    output: str | PathLike[str] = "build",
    *,
    name: str | None = None,
    passes: str | None = None,
    bind: Mapping[str, int] | None = None,
    calibrate: str | PathLike[str] | None = None,
    verify_each: bool = False,
    dump_after: str | None = None,
    cc: str | None = None,
    bench: bool | Sequence[Recording] = False,
    optimize: str | None = None,
    threads: int = 1,
    tune: str | PathLike[str] | None = None,
    progress: Progress = lambda text: None,
) -> Artifact:
    """Compile an ONNX file for a target into a folder, which appears whole or not at all.

    `calibrate` names recordings to measure firing rates on; without it those beside the model
    serve, if any. `verify_each` compares the model before and after each pass, and at the end the
    compiled code where it runs here. `optimize` is size or speed, in place of what the target says:
    size keeps potentials in 16 bits where they are fine enough, and loops as they are. `bench` adds
    a program that times the model on the device, on recordings that travel in it: those named, or
    some of those that firing rates are measured on. An inference may be shared among `threads`
    threads, each of which takes memory in the arena. `tune` names a file of tuning records, which
    say the kernel of every layer of spikes; layers that it lacks are measured on the recordings, on
    this machine or under the target's emulator, and added to it.
    Raises `UserError` for anything wrong with the arguments or the model.
    """
    chosen = load_target(target, optimize)
    steps = pipeline_for(chosen, passes, threads)
    if chosen.is_wasm and getattr(steps[-1], "threads", 1) > 1:
        raise UserError(f"a module for {chosen.name} has one thread", hint="leave out --threads")
    if steps[-1].name != "plan-memory":
        raise UserError(
            "--passes: the pipeline does not end in plan-memory: nothing to compile",
            hint=f"the whole pipeline is {DEFAULT}",
        )
    output = Path(output)
    dump = PassDumper(dump_after, steps, Path(f"{output}-passes")) if dump_after else None
    if name is not None:
        check_name(name)
    if bench:
        check_linux(chosen)
    records = TuningRecords(Path(tune), chosen) if tune is not None else None
    loaded = load_model(model, bind)
    name = name or model_name(loaded, model)
    toolchain = Toolchain.of(chosen, cc)

    def build(kernels: ir.Model, folder: Path) -> Artifact:
        return write_measurable(kernels, name, (chosen, target), toolchain, folder, Path(model))

    with replacing_folder(output, MANIFEST) as folder:
        calibration = _calibration(model, loaded, calibrate)
        stages = lower(
            loaded,
            steps,
            calibration=calibration,
            verify_each=verify_each,
            tuner=Tuner(records, chosen, steps, calibration, build, threads, cc, progress)
            if records
            else None,
            dump=dump,
            progress=progress,
        )
        progress("generate code")
        recordings = calibrate or sample_beside(model)
        write_library(
            stages.kernels,
            name,
            chosen,
            toolchain,
            folder,
            Path(model),
            os.path.relpath(recordings, output) if recordings else None,
        )
        if chosen.is_wasm:
            progress("link the module")
            write_package(json.loads((folder / f"{name}.json").read_text()), toolchain, folder)
        if verify_each and runs_here(chosen):
            progress("run the compiled code")
            frames = _frames(stages.dialect, calibration)
            check_library(stages.kernels, chosen, toolchain, name, folder, frames)
        save_model(stages.dialect, folder / f"{name}.onnx")
        (folder / f"{name}.hqt").write_text(show("target", target))
        if bench:
            progress("link the benchmark")
            names = [n.name for n in stages.kernels.graph if n.op_type != "Reshape"]
            if bench is True:
                bench = recordings_for(model, stages.dialect, calibrate, RECORDINGS)
            link_bench(stages.integer, names, name, chosen, cc, folder, bench)
    return Artifact.open(output)


def recordings_for(
    path: str | PathLike[str],
    model: ir.Model,
    data: str | PathLike[str] | None,
    limit: int,
) -> list[Recording]:
    """Recordings for a dialect model read from `path`, at most `limit`.

    They are those of `data`, failing that the sample beside the model, failing that seeded frames
    of small counts.
    """
    source = data or sample_beside(path)
    shape = model.graph.inputs[0].shape.numpy()
    if source is None:
        return [Recording(f"seeded {i}", f) for i, f in enumerate(sparse_frames(shape, limit))]
    return read_recordings(source, shape, preprocessing_of(model.metadata_props), limit)


def _calibration(
    path: str | PathLike[str], model: ir.Model, calibrate: str | PathLike[str] | None
) -> list[np.ndarray]:
    source = calibrate or sample_beside(path)
    if source is None:
        return []
    shape = model.graph.inputs[0].shape.numpy()
    preprocessing = preprocessing_of(model.metadata_props)
    recordings = read_recordings(source, shape, preprocessing, CALIBRATION_RECORDINGS)
    return [r.frames for r in recordings]


def write_library(
    kernels: ir.Model,
    name: str,
    target: Target,
    toolchain: Toolchain,
    folder: Path,
    source: Path,
    recordings: str | None = None,
) -> None:
    """Write the library of a planned kernel model, and its manifest.

    Raises `UserError` where the target's flash or RAM does not hold it.
    """
    # TVM takes seconds to load: what is refused before does without.
    load_tvm()
    from hqc.codegen.library import Library

    library = Library.of(kernels, name, target)
    library.write(target, toolchain, folder)
    manifest = describe(kernels, library, target, folder, source, recordings)
    check_fits(manifest, target)
    content = f"{json.dumps(manifest, indent=2)}\n".encode()
    (folder / f"{name}.json").write_bytes(content)
    (folder / MANIFEST).write_text(json.dumps(marker_of(name, content)) + "\n")


def write_measurable(
    kernels: ir.Model,
    name: str,
    target: tuple[Target, str],
    toolchain: Toolchain,
    folder: Path,
    source: Path,
) -> Artifact:
    """Write an artifact to be measured, which need not fit the machine.

    `target` is a target and the name or file that it was loaded by.
    """
    chosen, asked = target
    roomy = replace(chosen, flash=0, ram=0)
    write_library(kernels, name, roomy, toolchain, folder, source)
    (folder / f"{name}.hqt").write_text(show("target", asked))
    return Artifact.open(folder)
