"""What every op of an integer graph can take for granted, checked node by node after every pass.

An op's own `verify` is made of these; ops of standard ONNX have theirs in `integer_ops`.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from hqc.dialect.facts import Facts
from hqc.dialect.intervals import INT32, INT64

_TYPES = {
    "frames": {"UINT8", "INT8"},
    "spikes": {"UINT8", "INT32", "UINT32"},
    "levels": {"UINT8", "INT32", "UINT32"},
    "sums": {"INT32", "INT64"},
    "potentials": {"INT32"},
    "logits": {"FLOAT"},
}
"""Types of a kind's tensors; UINT32 holds packed bits."""

_HOLDS = {
    "UINT8": (0, 255),
    "INT8": (-128, 127),
    "INT32": (-INT32, INT32),
    "INT64": (-INT64, INT64),
}


class InvariantError(Exception):
    """A node is not what its op takes for granted: the pass that made it is wrong."""


def facts_of(value: ir.Value, *kinds: str) -> Facts:
    """The facts of an operand, which must be of one of the kinds, if any are named."""
    found = Facts.of(value)
    if found is None:
        raise InvariantError(f"{value.name!r} says nothing of its kind and range")
    if kinds and found.kind not in kinds:
        raise InvariantError(f"{value.name!r} holds {found.kind}, not {' or '.join(kinds)}")
    return found


def expect(what: str, found: object, wanted: object) -> None:
    """Two things that must be equal: a shape, a number of channels."""
    if found != wanted:
        raise InvariantError(f"{what} is {found}, not {wanted}")


def expect_shape(value: ir.Value, shape: Collection[int]) -> None:
    """A value's shape."""
    expect(f"the shape of {value.name!r}", list(value.shape.numpy()), list(shape))


def expect_within(value: ir.Value, low: np.ndarray, high: np.ndarray) -> None:
    """Numbers that a node can make must be within what its output says."""
    facts = facts_of(value)
    low, high = np.asarray(low).reshape(-1), np.asarray(high).reshape(-1)
    said_low, said_high = np.atleast_1d(facts.low), np.atleast_1d(facts.high)
    if 1 not in (low.size, said_low.size) and low.size != said_low.size:
        low, high, said_low, said_high = low.min(), high.max(), said_low.min(), said_high.max()
    beyond = (low < said_low) | (high > said_high)
    if np.any(beyond):
        low, high, said_low, said_high = np.broadcast_arrays(low, high, said_low, said_high)
        first = int(np.argmax(beyond))
        where = f" in channel {first}" if beyond.size > 1 else ""
        raise InvariantError(
            f"{value.name!r} can be {low[first]} to {high[first]}{where}, and says "
            f"{said_low[first]} to {said_high[first]}"
        )


def expect_channels(value: ir.Value, channels: int) -> None:
    """A constant that is one number, or one a channel."""
    array = constant_of(value)
    if array.size not in (1, channels):
        raise InvariantError(f"{value.name!r} has {array.size} numbers for {channels} channels")


def ends_along(value: ir.Value, parameters: Collection[ir.Value]) -> tuple[np.ndarray, np.ndarray]:
    """What a value can be, by channel where its parameters go by the axis of its channels."""
    facts, rank = facts_of(value), len(value.shape)
    shapes = [p.shape.numpy() for p in parameters]
    along = {i + rank - len(shape) for shape in shapes for i, n in enumerate(shape) if n > 1}
    names = facts.axes.split(" ")
    if along and along != {names.index("C") if "C" in names else -1}:
        return np.array(facts.lowest), np.array(facts.highest)
    return np.array(facts.low), np.array(facts.high)


def constant_of(value: ir.Value) -> np.ndarray:
    """An operand that must be constant."""
    if value is None or value.const_value is None:
        raise InvariantError("an operand that must be constant is computed")
    return value.const_value.numpy()


def verify_value(value: ir.Value) -> None:
    """A tensor's type must be one of its kind's, and hold its range."""
    facts = Facts.of(value)
    if facts is None:
        return
    dtype = value.dtype.name
    if dtype not in _TYPES[facts.kind]:
        raise InvariantError(f"{value.name!r} holds {facts.kind} as {dtype.lower()}")
    low, high = _HOLDS.get(dtype, (facts.lowest, facts.highest))
    if dtype == "UINT32":
        low, high = 0, 2 ** value.shape.numpy()[-2] - 1
    if facts.lowest < low or facts.highest > high:
        raise InvariantError(
            f"{value.name!r}, {facts.lowest} to {facts.highest}, does not fit {dtype.lower()}"
        )
