"""Comparing a model with itself: floats, integers, kernels, and the code compiled from them.

Integers, kernels and compiled code must be equal in every bit. Integers and floats need not: the
verdict says, layer by layer, whether rounding explains how they differ.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path

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
    progress: Progress = lambda text: None,
) -> Verification:
    """Compile a model and run it, under the target's emulator, against its integer reference.

    Recordings are those of `data`, failing that the sample beside the model, failing that seeded
    frames over the input's whole range. Logits of the compiled code (whole runs and step by step),
    of the kernel model and of the integer model in onnxruntime must be equal in every bit. Every
    spike and logit by which a layer of the integer model differs from the float network's on the
    same inputs must be explained by rounding; those that differ end to end are counted.
    """
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
            compiled[mode] = execute(chosen, runner, mode, recordings, classes)
    return compare(stages, recordings, compiled, chosen.name, progress)


def _recordings(
    source: str | PathLike[str] | None, shape: Sequence[int], model: ir.Model
) -> list[Recording]:
    if source is None:
        return frames_over_range(model)
    return read_recordings(source, shape, preprocessing_of(model.metadata_props))


def run_compiled(artifact: Artifact, recordings: Sequence[Recording]) -> np.ndarray:
    """Logits [recordings, classes] of a compiled model, under its target's emulator if need be."""
    if artifact.target.is_host:
        return np.stack([artifact.run(r.frames).reshape(-1) for r in recordings])
    name = artifact.name
    with tempfile.TemporaryDirectory(prefix="hqc-run-") as temporary:
        folder = Path(temporary)
        for file in (f"{name}_runner.c", f"{name}.h", "hqc.h", f"lib{name}.a"):
            shutil.copy(artifact.folder / file, folder)
        runner = link_runner(Toolchain.of(artifact.target), name, folder)
        classes = int(np.prod(artifact.manifest["output"]["shape"]))
        return execute(artifact.target, runner, "run", recordings, classes)


def _neurons(dialect: ir.Model) -> dict[str, str]:
    """Output name of every layer of neurons, by node name."""
    return {n.name: n.outputs[0].name for n in dialect.graph if n.op_type in NEURONS}


def _differs(compiled: Mapping[str, np.ndarray], mode: str, index: int, logits: np.ndarray) -> bool:
    """Whether compiled code, if there is any in that mode, gave other logits."""
    return mode in compiled and not np.array_equal(compiled[mode][index], logits)


def compare(
    stages: Stages,
    recordings: Sequence[Recording],
    compiled: Mapping[str, np.ndarray],
    target: str,
    progress: Progress = lambda text: None,
) -> Verification:
    """Run the stages of a model in onnxruntime and compare them with each other.

    `compiled` holds logits [recordings, classes] of compiled code, by "run" and "stream"; it may
    be empty.
    """
    verdict = Verdict(stages.dialect, stages.integer)
    found = Verification(target, len(recordings), layers=len(verdict.layers) + 1)
    found.coarse = verdict.coarse
    in_float = _neurons(stages.dialect)
    name = stages.dialect.graph.inputs[0].name
    sessions = (
        ReferenceSession(stages.dialect, [in_float[layer] for layer in verdict.layers]),
        ReferenceSession(stages.integer, verdict.watch),
        ReferenceSession(stages.kernels),
    )
    right = {"float": 0, "compiled": 0}
    labelled = [r for r in recordings if r.label is not None]
    for index, recording in enumerate(recordings):
        progress(f"compare {index + 1}/{len(recordings)}")
        floats, integers, packed = (s.run({name: recording.frames}) for s in sessions)
        logits = integers[0].reshape(-1)
        for layer, a, b in zip(verdict.layers, floats[1:], integers[1:], strict=True):
            differ = int((a.reshape(b.shape) != b).sum())
            found.spikes += a.size
            found.spikes_differ += differ
            if differ:
                found.spikes_differ_by_layer[layer] = (
                    found.spikes_differ_by_layer.get(layer, 0) + differ
                )
        for wrong in verdict.explain(recording.frames, integers[0], integers[1:]):
            found.unexplained.setdefault(wrong.layer, f"{wrong}, in {recording.name}")
        found.kernels_differ += not np.array_equal(packed[0].reshape(-1), logits)
        found.compiled_differs += _differs(compiled, "run", index, logits)
        found.stream_differs += _differs(compiled, "stream", index, logits)
        found.logits_error = max(
            found.logits_error, float(np.abs(floats[0].reshape(-1) - logits).max())
        )
        classes = floats[0].shape[-1]
        given = class_of(floats[0], classes)
        found.same_class += given == class_of(logits, classes)
        right["float"] += given == recording.label
        compiled_logits = compiled.get("run", {index: logits})[index]
        right["compiled"] += class_of(compiled_logits, classes) == recording.label
    if labelled:
        found.accuracy = {key: count / len(labelled) for key, count in right.items()}
    return found
