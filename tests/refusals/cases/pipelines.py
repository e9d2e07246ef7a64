"""Pipelines, and what a library is asked for: passes/pipeline.py, hqc/compiler.py, hqc/codegen."""

from __future__ import annotations

from tests.refusals.case import C, Small, refused


def sound(net: Small) -> None:
    net.frames = (1, 1, C, 1, 1)
    net.end(net.spikes())


refused("?", passes="fold-padding,,make-integer")(sound)
