"""AddPotentials: a membrane shortcut."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.facts import Facts
from hqc.dialect.invariants import InvariantError, expect_shape, expect_within, facts_of
from hqc.dialect.op import KERNEL, Op, register


def add_potentials(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a + b: int32 [T, H, W, C], of one unit, the sums proven to fit."""
    return a + b


def _channels(facts: Facts) -> int | None:
    names = facts.axes.split(" ")
    return names.index("C") if "C" in names else None


def verify_sum_of_potentials(node: ir.Node) -> None:
    """Two potentials of one unit and one shape."""
    a, b = (facts_of(v, "potentials") for v in node.inputs)
    if a.unit != b.unit:
        raise InvariantError(f"it adds potentials of units {a.unit} and {b.unit}")
    for value in (node.inputs[1], node.outputs[0]):
        expect_shape(value, node.inputs[0].shape.numpy())
    channels = _channels(facts_of(node.outputs[0]))
    # Numbers by channel count where the channels are the same axis as those of the sum.
    ends = [(x.low, x.high) if _channels(x) == channels else (x.lowest, x.highest) for x in (a, b)]
    low, high = (np.add(*end) for end in zip(*ends, strict=True))
    expect_within(node.outputs[0], low, high)


ADD_POTENTIALS = register(
    Op(
        "AddPotentials (a, b) => (y) { y = Add(a, b) }",
        reference=add_potentials,
        verify=verify_sum_of_potentials,
        domain=KERNEL,
    )
)
