"""One model of a suite measured: times, floors, rates, and how tightly it is stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

import hqc
from hqc.artifact import Artifact
from hqc.bench.peer import PeerBuilder, Runner, bench
from hqc.bench.suite.suite import Case
from hqc.compiler import recordings_for
from hqc.dialect.integer_lif import NEURONS
from hqc.frontend.load import load_model
from hqc.profiling import KernelProfile, profile_artifact
from hqc.reference import ReferenceSession
from hqc.targets import load_profile

RECORDINGS = 4
"""Recordings of a model that are timed, and that rates are measured on."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Measured:
    """A model, measured on one thread of this machine.

    `hqc_ms` is the median over rounds of an inference, `hqc_fastest_ms` the fastest round's.
    `floor_ms` is the sum of the kernels' floors: adding the weights of every spike as bytes, or
    reading the weights once, as `hqc profile` has it. `rates` are spikes a neuron and step, by
    layer of neurons. `peers_ms` are the peers' medians, `ratios` these over `hqc_ms`,
    `same_class` on how many recordings each has hqc's class. `code_bytes` are those of kernels and
    entries, 0 where they are not known. `weights_over_ideal` is `weight_bytes`, of stored codes,
    over the sum of bits of all weights / 8; `arena_over_bound` the arena over `arena_bound`.
    `compile_s` is how long compiling took. `kernels` is their profile.
    """

    name: str
    about: str
    model_sha256: str
    parameters: int
    average_bits: float
    hqc_ms: float
    hqc_fastest_ms: float
    floor_ms: float
    rates: Mapping[str, float]
    peers_ms: Mapping[str, float]
    ratios: Mapping[str, float]
    same_class: Mapping[str, int]
    recordings: int
    code_bytes: int
    weights_over_ideal: float
    weight_bytes: int
    arena_bytes: int
    arena_over_bound: float
    compile_s: float
    threads: int
    kernels: Sequence[KernelProfile]


def measure(
    case: Case,
    model: Path,
    build: Path,
    peers: Mapping[str, PeerBuilder],
    rounds: int,
    cc: str | None = None,
    progress: Progress = lambda text: None,
) -> Measured:
    """Compile a case's model for this machine into `build`, and time it in turns with its peers."""
    name = case.name
    progress(f"{name}: compile")
    start = time.perf_counter()
    artifact = hqc.compile(model, "host", build, cc=cc)
    compiled = time.perf_counter() - start
    loaded = load_model(model)
    frames = [r.frames for r in recordings_for(model, loaded, None, RECORDINGS)]
    runners: dict[str, Runner] = {"hqc": artifact.run}
    for peer, builder in peers.items():
        progress(f"{name}: prepare {peer}")
        runners[peer] = builder(loaded, frames)
    progress(f"{name}: measure")
    timings = bench(runners, frames, rounds)
    progress(f"{name}: profile")
    profile = profile_artifact(
        artifact, load_profile("horowitz-45nm"), limit=RECORDINGS, rounds=rounds, cc=cc
    )
    manifest = artifact.manifest
    others = {peer: timing for peer, timing in timings.items() if peer != "hqc"}
    return Measured(
        name=name,
        about=case.about,
        model_sha256=manifest["source"]["sha256"],
        parameters=manifest["weights"],
        average_bits=manifest["average_bits"],
        hqc_ms=timings["hqc"].median_ms,
        hqc_fastest_ms=timings["hqc"].fastest_ms,
        floor_ms=float(sum(k.floor_ms or 0.0 for k in profile.kernels)),
        rates=firing_rates(loaded, frames),
        peers_ms={peer: t.median_ms for peer, t in others.items()},
        ratios={peer: t.ratio for peer, t in others.items()},
        same_class={peer: t.same_class for peer, t in others.items()},
        recordings=len(frames),
        code_bytes=manifest["memory"]["code_bytes"],
        weights_over_ideal=weights_over_ideal(manifest),
        weight_bytes=manifest["memory"]["weight_bytes"],
        arena_bytes=manifest["memory"]["arena_bytes"],
        arena_over_bound=manifest["memory"]["arena_bytes"] / arena_bound(artifact),
        compile_s=compiled,
        threads=1,
        kernels=profile.kernels,
    )


def firing_rates(model: ir.Model, recordings: Sequence[np.ndarray]) -> dict[str, float]:
    """Spikes a neuron and step of a dialect model, by layer of neurons."""
    neurons = [node for node in model.graph if node.op_type in NEURONS]
    session = ReferenceSession(model, [node.outputs[0].name for node in neurons])
    name, outputs = model.graph.inputs[0].name, len(model.graph.outputs)
    means = [[s.mean() for s in session.run({name: x})[outputs:]] for x in recordings]
    return dict(zip((n.name for n in neurons), np.mean(means, 0).tolist(), strict=True))


def weights_over_ideal(manifest: Mapping) -> float:
    """Bytes of stored weight codes over those that their bits would fill without a gap."""
    bits = sum(layer["weights"] * layer["bits"] for layer in manifest["layers"])
    return manifest["memory"]["weight_bytes"] / (bits / 8)


def arena_bound(artifact: Artifact) -> int:
    """Bytes that an arena holds at least: of activations, where most are live at once.

    Those are the tensors, packed, that a kernel reads, writes, or that a later one still needs. A
    run that keeps every step of one layer cannot do with less; scratch areas, membrane potentials
    and gaps between areas come on top of it.
    """
    areas = [a for a in artifact.manifest["areas"]["run"] if a["kind"] == "activation"]
    calls = range(max(area["last"] for area in areas) + 1)
    return max(sum(a["bytes"] for a in areas if a["first"] <= call <= a["last"]) for call in calls)
