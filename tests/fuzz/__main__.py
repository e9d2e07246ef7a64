"""`python -m tests.fuzz`: random networks, until time is up or so many, on all targets in turn."""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import click
import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, given, settings

from hqc.emulator import emulator_command
from hqc.errors import ToolError
from hqc.targets import load_target, target_names
from tests.fuzz.coverage import Coverage
from tests.fuzz.networks import Network, networks
from tests.fuzz.oracle import check, reason, saved

_ROUND = 50
"""Networks of one seed: hypothesis varies the first ones, so that more give little that is new."""

_SHRINKING = 30
"""Seconds of processor time to look for a smaller network that is wrong alike."""


class _OutOfTimeError(BaseException):
    """Leaves hypothesis, which catches every `Exception`."""


@dataclass
class _Failure:
    """What is being shrunk: networks that are wrong in this way, for this target, until then."""

    kind: str
    target: str | None
    until: float


@dataclass
class Fuzzing:
    """The verdicts so far. Half of the time goes into compiled code, for one target a network.

    With a count, every network that is right is compiled, until so many are for each target, or
    so many were lowered where there are no targets.
    """

    minutes: float
    targets: Sequence[str]
    count: int | None = None
    coverage: Coverage = field(default_factory=Coverage)
    verdicts: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    compiled: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._until = time.monotonic() + 60 * self.minutes
        self._turns = itertools.cycle(self.targets)
        self._seconds = {"lowered": 0.0, "compiled": 0.0}
        self._seen: set[bytes] = set()
        self._failure: _Failure | None = None

    @property
    def over(self) -> bool:
        """Whether time is up, or enough networks are seen."""
        if self.count is None:
            return time.monotonic() > self._until
        if self.targets:
            return self.compiled.total() >= self.count * len(self.targets)
        return self.verdicts.total() >= self.count

    def round(self, seed: int) -> None:
        """Draw networks and check them; shrink the first that is wrong in a way not seen before."""
        self._failure = None

        @hypothesis.seed(seed)
        @settings(
            max_examples=_ROUND,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            verbosity=Verbosity.quiet,
            suppress_health_check=list(HealthCheck),
        )
        @given(networks())
        def run(network: Network) -> None:
            if self._failure:
                self._shrink(network, seed)
            else:
                self._try(network, seed)

        with contextlib.suppress(AssertionError, _OutOfTimeError):
            run()

    def _try(self, network: Network, seed: int) -> None:
        if self.over:
            raise _OutOfTimeError
        key = network.proto.SerializeToString(deterministic=True)
        if key in self._seen:
            return
        self._seen.add(key)
        target = None
        try:
            verdict = self._timed("lowered", network, None, seed)
            due = self.count or self._seconds["compiled"] < self._seconds["lowered"]
            if self.targets and due and verdict == "right":
                target = next(self._turns)
                self.compiled[target] += 1
                self._timed("compiled", network, target, seed)
        except AssertionError as error:
            verdict = "wrong"
            kind = reason(str(error))
            self.wrong[kind] += 1
            if self.wrong[kind] == 1:
                click.echo(f"wrong: {error}\n  {saved(kind)}\n  {network}")
                self._failure = _Failure(kind, target, time.process_time() + _SHRINKING)
                raise
        finally:
            self.verdicts[reason(verdict)] += 1
            self.coverage.add(network, verdict)

    def _shrink(self, network: Network, seed: int) -> None:
        if time.process_time() > self._failure.until:
            raise _OutOfTimeError
        try:
            check(network, self._failure.target, seed)
        except AssertionError as error:
            if reason(str(error)) == self._failure.kind:
                raise

    def _timed(self, what: str, network: Network, target: str | None, seed: int) -> str:
        start = time.monotonic()
        try:
            return check(network, target, seed)
        finally:
            self._seconds[what] += time.monotonic() - start

    def report(self) -> str:
        """Counts of verdicts, the most frequent refusals first, and where wrong networks are."""
        refused = Counter({k: n for k, n in self.verdicts.items() if k not in ("right", "wrong")})
        lines = [
            f"{self.verdicts.total():6} networks",
            f"{self.verdicts['right']:6} right; compiled: {dict(self.compiled) or 'none'}",
            f"{refused.total():6} refused",
            *(f"{n:12} {kind}" for kind, n in refused.most_common()),
            f"{self.wrong.total():6} wrong",
            *(f"{n:12} {kind}\n{'':13}{saved(kind)}" for kind, n in self.wrong.most_common()),
        ]
        return "\n".join(lines)


def _emulated() -> list[str]:
    """Targets whose code runs here."""
    found = []
    for name in target_names():
        try:
            emulator_command(load_target(name))
        except ToolError:
            continue
        found.append(name)
    return found


@click.command()
@click.option("--minutes", type=float, default=5, help="How long.")
@click.option("--count", type=int, help="How many networks, in place of how long.")
@click.option("--seed", type=int, default=0, help="Where random numbers begin.")
@click.option("--target", "targets", multiple=True, help="A target; all that run here otherwise.")
@click.option("--lower-only", is_flag=True, help="Do not compile.")
@click.option("--coverage", is_flag=True, help="Count ops and attributes.")
def main(
    minutes: float,
    count: int | None,
    seed: int,
    targets: Sequence[str],
    lower_only: bool,
    coverage: bool,
) -> None:
    """Draw random networks and check them. Exit code 1 where one is wrong."""
    fuzzing = Fuzzing(minutes, [] if lower_only else targets or _emulated(), count)
    number = seed
    while not fuzzing.over:
        fuzzing.round(number)
        number += 1
    if coverage:
        click.echo(f"{fuzzing.coverage}\n")
    click.echo(fuzzing.report())
    sys.exit(bool(fuzzing.wrong))


if __name__ == "__main__":
    main()
