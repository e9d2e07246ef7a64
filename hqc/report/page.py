"""Measuring what a report shows, and writing the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib import resources
from os import PathLike
from pathlib import Path
from string import Template
from typing import Any

import plotly.offline

from hqc.artifact import Artifact
from hqc.atomic_files import replacing
from hqc.bench.on.place import Result
from hqc.bench.saved import load
from hqc.classes import class_of
from hqc.errors import UserError
from hqc.frontend.load import load_model
from hqc.profiling import profile_artifact, recordings_of
from hqc.reference import ReferenceSession
from hqc.report.chart import Agreement, Findings, charts
from hqc.search.metrics import read_metrics
from hqc.targets import EnergyProfile
from hqc.verification import run_compiled
from hqc.version import VERSION


def write_report(
    artifact: Artifact,
    energy_profile: EnergyProfile,
    output: str | PathLike[str],
    *,
    data: str | PathLike[str] | None = None,
    search: str | PathLike[str] | None = None,
    bench: str | PathLike[str] | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Findings:
    """Profile a compiled model, compare it with its float model, and write one HTML file.

    Recordings are those of `data`, failing that those that the model was compiled with. The file
    needs nothing beside it, and no network. `search` is the folder of the search behind the model,
    `bench` a saved benchmark of it on a device. Raises `UserError` as `profile_artifact` does.
    """
    metrics = read_metrics(search) if search else []
    measured = _bench_of(artifact, Path(bench)) if bench else None
    profile = profile_artifact(artifact, energy_profile, data=data, progress=progress)
    findings = Findings(artifact, profile, _agreement(artifact, data, progress), metrics, measured)
    progress("draw")
    page = (resources.files("hqc.report") / "page.html.in").read_text()
    manifest = artifact.manifest
    frames = " x ".join(map(str, manifest["input"]["shape"]))
    text = Template(page).substitute(
        title=f"{escape(artifact.name)} on {escape(manifest['target'])}",
        subtitle=f"Input {frames} (T x N x C x H x W); energy by the profile "
        f"{escape(energy_profile.name)}: {escape(energy_profile.about.lower())}.",
        plotly=plotly.offline.get_plotlyjs(),
        cards="".join(
            f'<div class="card"><b>{escape(value)}</b>{escape(what)}</div>'
            for what, value in _cards(findings)
        ),
        sections="".join(
            f'<section id="chart-{c.order}"><h2>{escape(c.title)}</h2>'
            f'<p class="about">{escape(c.about)}</p>{drawn}</section>'
            for c in charts()
            if (drawn := c.draw(findings))
        ),
        footer="<br>".join(
            escape(line)
            for line in (
                f"hqc {VERSION}; source {manifest['source']['file']}, "
                f"sha256 {manifest['source']['sha256'][:16]}.",
                f"Energy constants: {energy_profile.source}.",
                *(f"Left open: {note}." for note in energy_profile.open),
            )
        ),
    )
    with replacing(output) as temporary:
        temporary.write_text(text)
    return findings


def _bench_of(artifact: Artifact, file: Path) -> Result:
    """A saved benchmark. Raises `UserError` where it is not of this model, kernel by kernel."""
    found, manifest = load(file), artifact.manifest

    def names(kernels: Sequence[Mapping[str, Any]]) -> list[str]:
        return [kernel["name"] for kernel in kernels]

    for what, said, wanted in (
        ("model", found.model_sha256, manifest["source"]["sha256"]),
        ("target", found.target, manifest["target"]),
        ("list of kernels", names(found.kernels), names(manifest["kernels"])),
    ):
        if said != wanted:
            raise UserError(
                f"{file} is a benchmark of another build: its {what} is another",
                hint="hqc bench MODEL --target TARGET --on PLACE --save FILE.json",
            )
    if any(kernel.get("ms") is None for kernel in found.kernels):
        raise UserError(
            f"{file} holds no times of kernels", hint="take one of a device, e.g. --on ssh://HOST"
        )
    return found


def _agreement(
    artifact: Artifact, data: str | PathLike[str] | None, progress: Callable[[str], None]
) -> list[Agreement]:
    recordings = recordings_of(artifact, data)
    loaded = load_model(artifact.model_file)
    session, name = ReferenceSession(loaded), loaded.graph.inputs[0].name
    classes = loaded.graph.outputs[0].shape.numpy()[-1]
    progress("run compiled code")
    compiled = run_compiled(artifact, recordings)
    found = []
    for index, recording in enumerate(recordings):
        progress(f"compare {index + 1}/{len(recordings)}")
        logits = session.run({name: recording.frames})[0].reshape(-1)
        found.append(
            Agreement(
                recording.label,
                class_of(logits, classes),
                class_of(compiled[index], classes),
                float(abs(logits - compiled[index]).max()),
            )
        )
    return found


def _cards(findings: Findings) -> list[tuple[str, str]]:
    manifest, profile = findings.artifact.manifest, findings.profile
    energy = profile.energy.as_dict()
    agreement = findings.agreement
    cards = []
    labelled = [a for a in agreement if a.label is not None]
    if labelled:
        right = sum(a.compiled_class == a.label for a in labelled)
        cards.append((f"accuracy, {len(labelled)} recordings", f"{right / len(labelled):.1%}"))
    same = sum(a.compiled_class == a.float_class for a in agreement)
    cards.append(("same class as in float arithmetic", f"{same}/{len(agreement)}"))
    cards.append(("bits a weight", f"{manifest['average_bits']:.2f}"))
    cards.append(("weights, stored", f"{manifest['memory']['weight_bytes'] / 1024:,.1f} KiB"))
    cards.append(("arena", f"{manifest['memory']['arena_bytes'] / 1024:,.1f} KiB"))
    if profile.milliseconds is not None:
        cards.append(("an inference, one core", f"{profile.milliseconds:.2f} ms"))
    if findings.bench and findings.bench.median_ms is not None:
        place = findings.bench.device.get("machine") or findings.bench.place
        cards.append((f"an inference on {place}", f"{findings.bench.median_ms:.2f} ms"))
    if profile.instructions is not None:
        cards.append(("instructions an inference", f"{profile.instructions / 1e6:.1f} M"))
    cards.append(("energy an inference", f"{energy['energy_pj'] / 1e6:,.1f} µJ"))
    cards.append(("less energy than fp32", f"{energy['energy_ratio']:.1f}x"))
    return cards
