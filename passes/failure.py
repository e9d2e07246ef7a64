"""What is said where a pass fails: which, at which node, and with what to report it."""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import fields

import onnx
import onnx_ir as ir

from hqc.errors import OwnError, in_short
from hqc.passes.graph import where
from hqc.passes.pass_base import Pass


def failure(
    step: Pass, error: Exception, steps: Sequence[Pass], given: onnx.ModelProto
) -> OwnError:
    """The error for a pass that failed; the model that the pipeline began with is written."""
    handle, path = tempfile.mkstemp(prefix="hqc-", suffix=".onnx")
    with os.fdopen(handle, "wb") as file:
        file.write(given.SerializeToString())
    node = _node_at(error)
    at = f" at {where(node)}" if node is not None else ""
    passes = ",".join(map(_text, steps))
    return OwnError(
        f"pass {step.name!r} failed{at}: {in_short(error)}",
        f'this is a fault of hqc: please report it with {path} and --passes "{passes}"',
    )


def _text(step: Pass) -> str:
    """A pass as --passes takes it."""
    options = ",".join(f"{f.name}={getattr(step, f.name)}" for f in fields(step))
    return f"{step.name}{{{options}}}" if options else step.name


def _node_at(error: Exception) -> ir.Node | None:
    """The node that a pass was at: passes call it `node`, the innermost function knows best."""
    found = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        node = frame.f_locals.get("node")
        found = node if isinstance(node, ir.Node) else found
    return found
