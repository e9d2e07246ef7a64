"""What NIR leaves open, as hqc reads and writes it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from hqc.dialect import DIALECT, Op, ops

DT = 1e-4
"""Seconds of a time step where nobody says: what snnTorch writes NIR with, and reads it by."""

QUANTIZER = "hqc.quantizer"
"""Of a node's metadata: how its weights, or an Input's frames, are quantized, as JSON."""

QUANTIZERS: dict[str, Op] = {
    op.name: op for op in ops() if op.domain == DIALECT and op.name.startswith("Quant")
}


def above(number: float) -> float:
    """The least float32 above a number: a neuron of NIR fires above its threshold, not at it."""
    return float(np.nextafter(np.float32(number), np.float32(np.inf)))


def below(number: float) -> float:
    """The greatest float32 below a number."""
    return float(np.nextafter(np.float32(number), np.float32(-np.inf)))


def in_steps(seconds: np.ndarray, dt: float) -> np.ndarray:
    """Seconds as time steps, in the precision that they are stored in.

    So a float32 of 2e-4 s is two steps of 1e-4 s exactly.
    """
    return seconds / seconds.dtype.type(dt)


def described(op: Op, scale: np.ndarray, attributes: dict) -> str:
    """A quantizer as text."""
    scales = np.asarray(scale, np.float32)
    said = {**attributes, "op": op.name, "scale": scales.tolist()}
    return json.dumps(said)


def quantizer_of(said: Any) -> tuple[Op, np.ndarray, dict] | None:
    """What `described` gave: the op, its scale and its attributes; None for anything else."""
    try:
        attributes = json.loads(said)
        op, scale = QUANTIZERS[attributes.pop("op")], np.asarray(attributes.pop("scale"))
    except (TypeError, ValueError, KeyError, AttributeError):
        return None
    whole = all(isinstance(value, int) for value in attributes.values())
    numbers = scale.dtype.kind in "fi" and scale.ndim <= 1 and (scale > 0).all()
    if not (whole and numbers and attributes.keys() == op.defaults.keys() | {"bits"}):
        return None
    if op.check({**op.defaults, **attributes}):
        return None
    return op, scale.astype(np.float32), attributes
