"""Comparing a model with itself: floats, integers, kernels, and the code compiled from them.

Integers, kernels and compiled code must be equal in every bit. Integers and floats need not: the
verdict says, layer by layer, whether rounding explains how they differ.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from threading import Lock

import numpy as np
import onnx_ir as ir

from hqc.artifact import Artifact
from hqc.classes import class_of
from hqc.codegen.toolchain import Toolchain
from hqc.compiler import (
    CALIBRATION_RECORDINGS,
    Progress,
    Stages,
    lower,
    pipeline_for,
    write_library,
)
from hqc.data.recordings import Recording, preprocessing_of, read_recordings, sample_beside
from hqc.data.synthetic import frames_over_range
from hqc.dialect.integer_lif import NEURONS
from hqc.emulator import emulator_command
from hqc.execution import MODES, execute, link_runner
from hqc.frontend.load import load_model, model_name
from hqc.reference import ReferenceSession
from hqc.targets import load_target
from hqc.threads import in_threads, thread_count
from hqc.verdict import Verdict


@dataclass
class Verification:
    """What `verify` found. What differs or is unexplained must be 0 or empty.

    `unexplained` holds, for each of the `layers` (of neurons, and the classifier) that differs from
    the float network by more than rounding explains, what was found first. `coarse` holds, for each
    layer where that is more than an eighth, the part of its threshold that rounding may cost.
    """

    target: str
    recordings: int
    compiled_differs: int = 0
    stream_differs: int = 0
    kernels_differ: int = 0
    layers: int = 0
    unexplained: dict[str, str] = field(default_factory=dict)
    coarse: dict[str, float] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)
    spikes: int = 0
    spikes_differ: int = 0
    spikes_differ_by_layer: dict[str, int] = field(default_factory=dict)
    logits_error: float = 0.0
    same_class: int = 0

    @property
    def ok(self) -> bool:
        """Whether integers, kernels and compiled code agree in every bit, and with the floats."""
        differ = (self.compiled_differs, self.stream_differs, self.kernels_differ)
        return not (any(differ) or self.unexplained)

    def as_dict(self) -> dict:
        """For JSON."""
        return {**asdict(self), "ok": self.ok}


def verify(
    model: str | PathLike[str],
    target: str = "host",
    *,
    data: str | PathLike[str] | None = None,
    bind: Mapping[str, int] | None = None,
    passes: str | None = None,
    cc: str | None = None,
    optimize: str | None = None,
    threads: int | None = None,
    progress: Progress = lambda text: None,
) -> Verification:
    """Compile a model and run it, under the target's emulator, against its integer reference.

    Recordings are those of `data`, failing that the sample beside the model, failing that seeded
    frames over the input's whole range. Logits of the compiled code (whole runs and step by step),
    of the kernel model and of the integer model in onnxruntime must be equal in every bit. Every
    spike and logit by which a layer of the integer model differs from the float network's on the
    same inputs must be explained by rounding; those that differ end to end are counted. Recordings
    are shared among `threads`, by default one for each core that this process may use.
    """
    threads = thread_count(threads)
    chosen = load_target(target, optimize)
    emulator_command(chosen)
    loaded = load_model(model, bind)
    shape = loaded.graph.inputs[0].shape.numpy()
    recordings = _recordings(data or sample_beside(model), shape, loaded)
    name = model_name(loaded, model)
    stages = lower(
        loaded,
        pipeline_for(chosen, passes),
        calibration=[
            r.frames for r in recordings[:: -(-len(recordings) // CALIBRATION_RECORDINGS)]
        ],
        progress=progress,
    )
    with tempfile.TemporaryDirectory(prefix="hqc-verify-") as temporary:
        folder = Path(temporary)
        progress("generate code")
        toolchain = Toolchain.of(chosen, cc)
        write_library(stages.kernels, name, chosen, toolchain, folder, Path(model))
        progress("link the runner")
        runner = link_runner(toolchain, name, folder)
        compiled = {}
        classes = int(np.prod(loaded.graph.outputs[0].shape.numpy()))
        for mode in MODES:
            progress(f"{mode} compiled code")
            compiled[mode] = execute(chosen, runner, mode, recordings, classes, threads)
    return compare(stages, recordings, compiled, chosen.name, progress, threads)


def _recordings(
    source: str | PathLike[str] | None, shape: Sequence[int], model: ir.Model
) -> list[Recording]:
    if source is None:
        return frames_over_range(model)
    return read_recordings(source, shape, preprocessing_of(model.metadata_props))


def run_compiled(
    artifact: Artifact, recordings: Sequence[Recording], threads: int | None = None
) -> np.ndarray:
    """Logits [recordings, all of one] of a compiled model, under its target's emulator if need be.

    Recordings are shared among `threads`, by default one for each core that this process may use.
    """
    if artifact.target.is_host:
        logits = artifact.run_batch((r.frames for r in recordings), threads)
        return logits.reshape(len(recordings), math.prod(artifact.manifest["output"]["shape"]))
    name = artifact.name
    with tempfile.TemporaryDirectory(prefix="hqc-run-") as temporary:
        folder = Path(temporary)
        for file in (f"{name}_runner.c", f"{name}.h", "hqc.h", f"lib{name}.a"):
            shutil.copy(artifact.folder / file, folder)
        runner = link_runner(Toolchain.of(artifact.target), name, folder)
        classes = math.prod(artifact.manifest["output"]["shape"])
        return execute(artifact.target, runner, "run", recordings, classes, thread_count(threads))


def _neurons(dialect: ir.Model) -> dict[str, str]:
    """Output name of every layer of neurons, by node name."""
    return {n.name: n.outputs[0].name for n in dialect.graph if n.op_type in NEURONS}


def _differs(compiled: Mapping[str, np.ndarray], mode: str, index: int, logits: np.ndarray) -> bool:
    """Whether compiled code, if there is any in that mode, gave other logits."""
    return mode in compiled and not np.array_equal(compiled[mode][index], logits)


@dataclass(frozen=True)
class _Compared:
    """What the stages of a model gave for one recording: logits flat, what differs by layer."""

    floats: np.ndarray
    integers: np.ndarray
    kernels: np.ndarray
    spikes: int
    differ: dict[str, int]
    unexplained: dict[str, str]


class _Comparison:
    """The stages of a model, each in onnxruntime, run beside each other by several threads."""

    def __init__(self, stages: Stages) -> None:
        self.verdict = Verdict(stages.dialect, stages.integer)
        in_float = _neurons(stages.dialect)
        self._input = stages.dialect.graph.inputs[0].name
        self._sessions = (
            ReferenceSession(stages.dialect, [in_float[layer] for layer in self.verdict.layers]),
            ReferenceSession(stages.integer, self.verdict.watch),
            ReferenceSession(stages.kernels),
        )
        # onnx's evaluator, by which spikes are explained, does not say that threads may share it.
        self._explaining = Lock()

    def run(self, recording: Recording) -> _Compared:
        """All stages on a recording."""
        feeds = {self._input: recording.frames}
        floats, integers, packed = (session.run(feeds) for session in self._sessions)
        pairs = zip(self.verdict.layers, floats[1:], integers[1:], strict=True)
        differ = {layer: int((a.reshape(b.shape) != b).sum()) for layer, a, b in pairs}
        with self._explaining:
            wrong = self.verdict.explain(recording.frames, integers[0], integers[1:])
        unexplained: dict[str, str] = {}
        for what in wrong:
            unexplained.setdefault(what.layer, f"{what}, in {recording.name}")
        a, b, c = (found[0].reshape(-1) for found in (floats, integers, packed))
        return _Compared(a, b, c, sum(s.size for s in floats[1:]), differ, unexplained)


def compare(
    stages: Stages,
    recordings: Sequence[Recording],
    compiled: Mapping[str, np.ndarray],
    target: str,
    progress: Progress = lambda text: None,
    threads: int | None = None,
) -> Verification:
    """Run the stages of a model in onnxruntime and compare them with each other.

    `compiled` holds logits [recordings, classes] of compiled code, by "run" and "stream"; it may
    be empty. Recordings are shared among `threads`, by default one for each core that this process
    may use.
    """
    comparison = _Comparison(stages)
    verdict = comparison.verdict
    found = Verification(target, len(recordings), layers=len(verdict.layers) + 1)
    found.coarse = verdict.coarse
    classes = stages.dialect.graph.outputs[0].shape.numpy()[-1]
    right = {"float": 0, "compiled": 0}
    labelled = [r for r in recordings if r.label is not None]

    def shown() -> Iterator[Recording]:
        for index, recording in enumerate(recordings):
            progress(f"compare {index + 1}/{len(recordings)}")
            yield recording

    for index, one in enumerate(in_threads(comparison.run, shown(), threads)):
        found.spikes += one.spikes
        for layer, differ in one.differ.items():
            found.spikes_differ += differ
            if differ:
                found.spikes_differ_by_layer[layer] = (
                    found.spikes_differ_by_layer.get(layer, 0) + differ
                )
        for layer, what in one.unexplained.items():
            found.unexplained.setdefault(layer, what)
        logits, label = one.integers, recordings[index].label
        found.kernels_differ += not np.array_equal(one.kernels, logits)
        found.compiled_differs += _differs(compiled, "run", index, logits)
        found.stream_differs += _differs(compiled, "stream", index, logits)
        found.logits_error = max(found.logits_error, float(np.abs(one.floats - logits).max()))
        given = class_of(one.floats, classes)
        found.same_class += given == class_of(logits, classes)
        right["float"] += given == label
        compiled_logits = compiled.get("run", {index: logits})[index]
        right["compiled"] += class_of(compiled_logits, classes) == label
    if labelled:
        found.accuracy = {key: count / len(labelled) for key, count in right.items()}
    return found
