"""Networks that nobody thought of: each is refused, or becomes what its floats say."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, Phase, given, settings

from tests.conftest import needs_compiler
from tests.fuzz.networks import Network, networks
from tests.fuzz.oracle import check


def checked(count: int, target: str | None = None) -> Counter[str]:
    """How many of so many networks are right, and how many refused; always the same networks."""
    verdicts: Counter[str] = Counter()

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(networks())
    def run(network: Network) -> None:
        verdicts[check(network, target).partition(":")[0]] += 1

    run()
    return verdicts


def test_networks_are_right_or_refused():
    verdicts = checked(150)
    assert verdicts["right"] > verdicts["refused"]


@needs_compiler
def test_compiled_networks_are_right_or_refused():
    verdicts = checked(12, "host")
    assert verdicts["right"] > verdicts["refused"]
