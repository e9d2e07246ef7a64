"""Suites: many models measured alike, by one command, to compare one state of hqc with another."""

from hqc.bench.suite.scaling import SCALING
from hqc.bench.suite.speed import SPEED
from hqc.bench.suite.suite import Case, Suite
from hqc.named import named

SUITES = {suite.name: suite for suite in (SPEED, SCALING)}
"""All suites by name."""


def find_suite(name: str) -> Suite:
    """The suite of a name. Raises `UserError`, suggesting the nearest."""
    return named("suite", name, SUITES, "suites")


__all__ = ["SUITES", "Case", "Suite", "find_suite"]
