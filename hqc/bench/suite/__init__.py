"""Suites: many models measured alike, by one command, to compare one state of hqc with another."""

from hqc.bench.suite.suite import Case, Suite, find_suite, suites

__all__ = ["Case", "Suite", "find_suite", "suites"]
