"""What an integer tensor is: its kind, its proven interval, its unit and its axes.

`make-integer` proves them, later passes carry them on, and every op checks itself by them. They are
metadata of the tensor's value, as JSON, so that a dumped model shows them too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import onnx_ir as ir

FACTS = "hqc.tensor"
"""Metadata key of a value."""

BOUND = "hqc.bound"
"""Metadata key of spikes and logits; see `write_bound`."""

Kind = Literal["frames", "spikes", "levels", "sums", "potentials", "logits"]
"""What a tensor's integers stand for.

frames: codes of the network's input. spikes: 0 or 1. levels: sums of spikes, from 0 on. sums: what
a layer adds up, an affine map by channel away from the float tensor. potentials: the float tensor
in multiples of one unit. logits: float32, the only kind that is not integer.
"""


@dataclass(frozen=True)
class Facts:
    """`low` <= every number <= `high`, by channel where they are lists.

    `unit` is what 1 stands for in the float network, where it is the same in all channels. `axes`
    names the tensor's axes in order: T (time), C (channels), Y and X (position); "1" for an axis of
    size 1, and e.g. "Y*X" or "C/32" where axes were merged or split.
    """

    kind: Kind
    low: int | list[int]
    high: int | list[int]
    axes: str
    unit: float | None = None

    @classmethod
    def of(cls, value: ir.Value | None) -> Facts | None:
        """The facts of a value; None where none were written."""
        note = None if value is None else value.metadata_props.get(FACTS)
        return cls(**json.loads(note)) if note else None

    def write(self, value: ir.Value) -> None:
        """Keep them as the value's metadata."""
        value.metadata_props[FACTS] = json.dumps(vars(self))

    def under(self, axes: str) -> Facts:
        """The same integers under other axes, as a view gives them."""
        return replace(self, axes=axes)

    @property
    def lowest(self) -> int:
        """The least number of any channel."""
        return int(np.min(self.low))

    @property
    def highest(self) -> int:
        """The greatest number of any channel."""
        return int(np.max(self.high))


def by_channel(values: np.ndarray) -> int | list[int]:
    """A proven bound as facts keep it: one number where all channels have the same."""
    flat = np.asarray(values).reshape(-1)
    return int(flat[0]) if (flat == flat[0]).all() else [int(v) for v in flat.tolist()]


def write_bound(value: ir.Value, bound: np.ndarray, axis: int | None) -> None:
    """Keep how far what spikes were decided by, or logits are, may be from the float network's.

    In units of the float network, on the same inputs; one number, or one for each index of `axis`.
    """
    numbers = np.unique(bound) if axis is None or np.unique(bound).size == 1 else bound
    rounded_up = [float(f"{b * 1.0005:.4g}") for b in np.atleast_1d(numbers)]
    note = {"bound": rounded_up, "axis": axis or 0}
    value.metadata_props[BOUND] = json.dumps(note)


def read_bound(value: ir.Value) -> np.ndarray | None:
    """The bound that was written, shaped to broadcast to the value; None if there is none."""
    if BOUND not in value.metadata_props:
        return None
    note = json.loads(value.metadata_props[BOUND])
    shape = [1] * len(value.shape)
    shape[note["axis"]] = -1
    return np.reshape(np.float64(note["bound"]), shape)
