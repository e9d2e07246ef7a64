"""What parts of kernels cost on a target, fitted to what whole kernels take there.

Every kernel is measured over layers of several shapes and bits at several rates, and what it takes
is explained as the sum of its parts (`hqc.passes.spike_kernels`), and of what all kernels do alike
for each position and each vector of neurons. Errors count in proportion to what was measured.
"""

from __future__ import annotations

import tempfile
import textwrap
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from hqc.codegen.toolchain import Toolchain
from hqc.compiler import lower, pipeline_text, write_measurable
from hqc.cost_layers import ALL, RATES, Layers, network, recording
from hqc.frontend.load import load_model
from hqc.frontend.save import save_model
from hqc.kernel_figures import check_measurable, kernel_figures, unit_of
from hqc.passes import parse_pipeline
from hqc.passes.choose_kernels import ChooseKernels
from hqc.passes.spike_kernels import SPIKE_KERNELS, SPIKE_LAYERS, Work
from hqc.targets import Target, load_target
from hqc.targets.costs import PARTS, Costs

Progress = Callable[[str], None]

_TURNS = 5
"""How often kernels are timed on the host: the least counts."""

_WIDTH, _INDENT = 96, 6 * " "
"""Of lines that are printed."""

_SWEEPS = 100_000
"""Most rounds over all costs of a fit."""

_SHARED = ("position", "neurons")
"""What all kernels do alike, which is no target's cost: it does not decide between them."""


@dataclass(frozen=True)
class Sample:
    """What a kernel took for a layer at a rate, and how often it does each part."""

    layer: str
    rate: float
    kernel: str
    parts: dict[str, float]
    figure: float


@dataclass(frozen=True)
class Fit:
    """Fitted costs of a target, in its unit; `machine` is the host's processor, as LLVM calls it.

    `error` is the mean of |fitted - measured| / measured over `samples` kernels. `loss` is what
    kernels that the costs choose take beyond the least measured, on average over layers and rates,
    relative to it; `loss_before` the same by the costs that the target has.
    """

    target: str
    machine: str | None
    unit: str
    samples: int
    costs: dict[str, float]
    error: float
    loss: float
    loss_before: float

    def statement(self) -> str:
        """The costs as a statement of a target file, broken into lines."""
        costs = ", ".join(f"{cost:g}~{part}" for part, cost in self.costs.items())
        lines = textwrap.wrap(f"costs {costs}", _WIDTH, subsequent_indent=_INDENT)
        where = f" on {self.machine}" if self.machine else ""
        command = f"hqc targets fit {self.target}{where}"
        measured = f"{command}: {self.unit}, mean error {self.error:.0%}"
        return "\n".join([*lines, f'{_INDENT}from "{measured}"']).replace("~", " ")


def fit_costs(
    target: str,
    *,
    networks: Sequence[Layers] = ALL,
    rates: Sequence[float] = RATES,
    cc: str | None = None,
    progress: Progress = lambda text: None,
) -> Fit:
    """Measure kernels on this machine or under the target's emulator, and fit what parts cost.

    Raises `UserError` for a target that there is not, `ToolError` for one that is not measured
    here.
    """
    chosen = load_target(target)
    check_measurable(chosen)
    samples = [
        sample
        for layers in networks
        for sample in _samples(chosen, target, layers, rates, cc, progress)
    ]
    unit = unit_of(chosen)
    fitted, error = fit(samples, () if unit != "instructions" else ("far",))
    return Fit(
        chosen.name,
        str(chosen.tvm_target()["mcpu"]) if chosen.is_host else None,
        unit,
        len(samples),
        fitted,
        error,
        loss(samples, replace(Costs(), **fitted)),
        loss(samples, chosen.costs),
    )


def _samples(
    target: Target,
    asked: str,
    layers: Layers,
    rates: Sequence[float],
    cc: str | None,
    progress: Progress,
) -> list[Sample]:
    """What every kernel takes for some layers."""
    found = []
    text, toolchain = pipeline_text(target), Toolchain.of(target, cc)
    with tempfile.TemporaryDirectory(prefix="hqc-fit-") as temporary:
        source = Path(temporary) / "layers.onnx"
        save_model(network(layers), source)
        for kernel in SPIKE_KERNELS:
            progress(f"{layers.channels} channels by {kernel}")
            one = f"choose-kernels{{kernel={kernel},"
            steps = parse_pipeline(text.replace("choose-kernels{", one))
            (chooser,) = (step for step in steps if isinstance(step, ChooseKernels))
            kernels = lower(load_model(source), steps).kernels
            nodes = [n for n in kernels.graph if _is_computed_by(n, kernel)]
            if not nodes:
                continue
            folder = Path(temporary) / kernel
            folder.mkdir()
            built = write_measurable(kernels, "layers", (target, asked), toolchain, folder, source)
            for rate in rates:
                frames = recording(layers, rate)
                turns = range(_TURNS if target.is_host else 1)
                figures = [kernel_figures(built, [frames], cc=cc) for _ in turns]
                for node in nodes:
                    work = Work.of(node, chooser.machine, float(frames.mean()))
                    name = f"{layers.channels} at {layers.side}: {node.name}"
                    least = min(taken[node.name] for taken in figures)
                    found.append(Sample(name, rate, kernel, _parts(kernel, work), least))
    return found


def _is_computed_by(node: ir.Node, kernel: str) -> bool:
    return node.op_type in SPIKE_LAYERS and node.attributes["kernel"].value == kernel


def _parts(kernel: str, work: Work) -> dict[str, float]:
    """What a kernel does, with what all do; without what it does not do in this layer."""
    shared = zip(_SHARED, (work.positions, work.positions * work.word_vectors), strict=True)
    parts = {**SPIKE_KERNELS[kernel].parts(work), **dict(shared)}
    return {part: amount for part, amount in parts.items() if amount}


def fit(samples: Sequence[Sample], free: Sequence[str] = ()) -> tuple[dict[str, float], float]:
    """Costs of the parts that samples have, of three digits, and their mean relative error.

    Parts that are `free` cost nothing: instructions are as many wherever weights come from.
    """
    had = {part for sample in samples for part in sample.parts}.difference(free)
    names = [part for part in (*PARTS, *_SHARED) if part in had]
    figures = np.array([sample.figure for sample in samples])
    matrix = np.array([[sample.parts.get(name, 0) for name in names] for sample in samples])
    costs = least_squares(matrix / figures[:, None], np.ones(len(samples)))
    error = float(np.abs(matrix @ costs / figures - 1).mean())
    found = {n: float(f"{c:.3g}") for n, c in zip(names, costs, strict=True) if n in PARTS}
    return found | dict.fromkeys(free, 0.0), error


def least_squares(matrix: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """x [n] >= 0 that makes |matrix @ x - wanted| least, for matrix [m, n] without columns of 0.

    One x after the other is made the best beside the others, until none moves."""
    scale = np.linalg.norm(matrix, axis=0)
    scaled = matrix / scale
    gram, image = scaled.T @ scaled, scaled.T @ wanted
    x = np.zeros(len(scale))
    for _ in range(_SWEEPS):
        before = x.copy()
        for i in range(len(x)):
            x[i] = max(0.0, x[i] + image[i] - gram[i] @ x)
        if np.abs(x - before).max() <= 1e-12 * np.abs(x).max():
            break
    return x / scale


def loss(samples: Sequence[Sample], costs: Costs) -> float:
    """What kernels that the costs choose take beyond the least, relative to it, on average over the
    layers and rates that several kernels were measured for."""
    said = asdict(costs)
    alike: dict[tuple[str, float], list[Sample]] = defaultdict(list)
    for sample in samples:
        alike[sample.layer, sample.rate].append(sample)
    found = []
    for group in alike.values():
        chosen = min(group, key=lambda s: sum(said.get(p, 0) * n for p, n in s.parts.items()))
        if len(group) > 1:
            found.append(chosen.figure / min(s.figure for s in group) - 1)
    return float(np.mean(found)) if found else 0.0
