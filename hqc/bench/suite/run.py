"""A whole suite run: every model measured, as text and as JSON."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from hqc.bench.peer import PeerBuilder
from hqc.bench.shown import aligned
from hqc.bench.suite.growth import Growth, described
from hqc.bench.suite.machine import describe_machine
from hqc.bench.suite.measure import Measured, Progress, measure
from hqc.bench.suite.suite import Case
from hqc.codegen.load_tvm import load_tvm


def run_suite(
    cases: Sequence[Case],
    peers: Mapping[str, PeerBuilder],
    rounds: int,
    cc: str | None = None,
    progress: Progress = lambda text: None,
) -> list[Measured]:
    """Make and measure cases, one after the other. Raises `UserError`."""
    load_tvm()  # takes seconds, which are not the first model's to compile

    found = []
    for case in cases:
        with tempfile.TemporaryDirectory(prefix="hqc-suite-") as folder:
            progress(f"{case.name}: make the model")
            model = case.make(Path(folder))
            build = Path(folder, "build")
            found.append(measure(case, model, build, peers, rounds, cc, progress))
    return found


def as_dict(
    suite: str,
    found: Sequence[Measured],
    rounds: int,
    cc: str | None = None,
    grown: Sequence[Growth] = (),
) -> dict:
    """What was found, and on which machine, as JSON stores it."""
    return {
        "suite": suite,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "rounds": rounds,
        "machine": describe_machine(cc),
        "growth": [asdict(growth) for growth in grown],
        "models": [asdict(measured) for measured in found],
    }


_HEAD = (
    *("hqc ms", "floor ms", "of floor", "rates", "code B", "weights B", "arena B"),
    *("weights", "arena", "compile s", "threads"),
)


def shown(found: Sequence[Measured], grown: Sequence[Growth] = ()) -> str:
    """What was found, a model a line, and a line for each axis."""
    peers = list(found[0].ratios)
    rows = [(*_HEAD, *peers, "model")]
    for m in found:
        rates = m.rates.values()
        rows.append(
            (
                f"{m.hqc_ms:.3f}",
                f"{m.floor_ms:.3f}",
                f"{m.hqc_ms / m.floor_ms:.1f}",
                f"{min(rates):.1%} to {max(rates):.1%}",
                f"{m.code_bytes:,}",
                f"{m.weight_bytes:,}",
                f"{m.arena_bytes:,}",
                f"{m.weights_over_ideal:.3f}",
                f"{m.arena_over_bound:.2f}",
                f"{m.compile_s:.1f}",
                str(m.threads),
                *(f"{m.ratios[peer]:.2f}" for peer in peers),
                m.name,
            )
        )
    return "\n".join([*aligned(rows), *map(described, grown)])
