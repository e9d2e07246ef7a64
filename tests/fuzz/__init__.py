"""Seeded random trials, at length from the shell and for a moment in the test suite."""
