"""Kernels of layers of spikes that are chosen because they were measured: `hqc compile --tune`."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
import onnx_ir as ir

from hqc.artifact import Artifact
from hqc.copies import copy_model
from hqc.dialect.metadata import TUNED
from hqc.errors import UserError
from hqc.kernel_figures import check_measurable, kernel_figures
from hqc.passes import Pass, run_passes
from hqc.passes.choose_kernels import ChooseKernels
from hqc.passes.spike_kernels import SPIKE_LAYERS
from hqc.targets import Target
from hqc.tuning_records import TuningRecords, layer_key

_TURNS = 5
"""How often each build is profiled on the host, in turn with the others: the least counts."""


@dataclass(frozen=True)
class Tuner:
    """An observer of passes: tells every layer of packed spikes the kernel that records choose.

    Layers that the records lack are measured on the `calibration` frames and added, those that are
    alike by their mean: the model is built once with each kernel, by `build`, which writes a kernel
    model into a folder. On the host its kernels are timed, on so many `threads`; under an emulator
    counted, for the first recording. Layers that only one kernel can compute are not recorded.
    Raises `UserError` without frames, and for a chosen kernel that cannot compute a layer.
    """

    records: TuningRecords
    target: Target
    steps: Sequence[Pass]
    calibration: Sequence[np.ndarray]
    build: Callable[[ir.Model, Path], Artifact]
    threads: int
    cc: str | None
    progress: Callable[[str], None]

    def __post_init__(self) -> None:
        names = [step.name for step in self.steps]
        by_layer = any(isinstance(s, ChooseKernels) and s.kernel == "auto" for s in self._rest())
        if "pack-spikes" not in names or not by_layer:
            raise UserError(
                "--tune: the passes, which are given, do not choose a kernel for each layer",
                hint="leave out --passes, or say choose-kernels, of no one kernel, after "
                "pack-spikes among them",
            )

    def __call__(self, step: Pass, model: ir.Model) -> None:
        """Annotate the layers once their spikes are packed."""
        if step.name != "pack-spikes":
            return
        threads = self.threads if self.target.is_host else 1
        keys, candidates = {}, {}
        for node in model.graph:
            if node.op_type in SPIKE_LAYERS and len(found := self._candidates(node)) > 1:
                keys[node.name], candidates[node.name] = layer_key(node, threads), found
        missing = {name: key for name, key in keys.items() if key not in self.records}
        if missing:
            self.records.add(self._measure(model, missing, candidates))
        for node in model.graph:
            if node.name in keys:
                kernel = self.records[keys[node.name]].kernel
                if kernel not in candidates[node.name]:
                    raise UserError(
                        f"node {node.name!r}: tuning records choose {kernel!r} for it, which "
                        "cannot compute it",
                        hint=f"kernels that can are {', '.join(candidates[node.name])}",
                    )
                node.metadata_props[TUNED] = kernel

    def _rest(self) -> Sequence[Pass]:
        """The passes after those that pack spikes."""
        names = [step.name for step in self.steps]
        return self.steps[names.index("pack-spikes") + 1 :] if "pack-spikes" in names else ()

    def _candidates(self, node: ir.Node) -> list[str]:
        chooser = next(s for s in self._rest() if isinstance(s, ChooseKernels))
        return chooser.candidates(node)

    def _measure(
        self,
        model: ir.Model,
        missing: Mapping[str, str],
        candidates: Mapping[str, Sequence[str]],
    ) -> dict[str, dict[str, int]]:
        """Figures by key and kernel of the layers, which are given with their keys, by name."""
        if not self.calibration:
            raise UserError(
                "--tune: there are no recordings to measure kernels on",
                hint="name some with --calibrate, or put them beside the model, in sample/",
            )
        check_measurable(self.target)
        kernels = sorted({kernel for name in missing for kernel in candidates[name]})
        with tempfile.TemporaryDirectory(prefix="hqc-tune-") as temporary:
            builds = {k: self._built(model, k, Path(temporary) / k) for k in kernels}
            figures = self._figures(builds)
        alike = defaultdict(list)
        for name, key in missing.items():
            alike[key].append(name)
        return {
            key: {k: round(fmean(figures[k][n] for n in names)) for k in candidates[names[0]]}
            for key, names in alike.items()
        }

    def _built(self, model: ir.Model, kernel: str, folder: Path) -> Artifact:
        """The model compiled with one kernel for all layers that it can compute."""
        self.progress(f"build with kernel {kernel}")
        steps = [
            replace(s, kernel=kernel) if isinstance(s, ChooseKernels) else s for s in self._rest()
        ]
        folder.mkdir()
        return self.build(run_passes(copy_model(model), steps), folder)

    def _figures(self, builds: Mapping[str, Artifact]) -> dict[str, dict[str, float]]:
        """What every kernel of each build takes, by its name, in the target's unit."""
        found: dict[str, dict[str, float]] = {}
        for turn in range(_TURNS if self.target.is_host else 1):
            for kernel, artifact in builds.items():
                self.progress(f"measure kernel {kernel}, {turn + 1}")
                figures = kernel_figures(artifact, self.calibration, self.threads, self.cc)
                best = found.setdefault(kernel, figures)
                found[kernel] = {name: min(best[name], figures[name]) for name in figures}
        return found
