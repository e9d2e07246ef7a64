"""JoinSteps and SplitSteps: what mixes time steps sees all of them together, as more positions.

Both leave the numbers as they are, and say where time is. In compiled code the steps that were kept
are the positions of one, which lie in memory in the same order.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.facts import Facts
from hqc.dialect.invariants import expect, expect_shape, expect_within, facts_of
from hqc.dialect.op import Op, register


def join_steps(x: np.ndarray) -> np.ndarray:
    """Integers of any shape as they are: from here on, their time steps are positions."""
    return x


def split_steps(x: np.ndarray, *, channels: int) -> np.ndarray:
    """Integers [N, ...] as they are: from here on, the first axis is N time steps.

    Of the others, `channels` is the one that kernels have as channels; 0 where there is none.
    """
    return x


def _verify(node: ir.Node) -> None:
    x, made = Facts.of(node.inputs[0]), Facts.of(node.outputs[0])
    facts_of(node.inputs[0], "spikes", "levels", "potentials")
    expect("the kind of its numbers", made.kind, x.kind)
    expect("the unit", made.unit, x.unit)
    expect_shape(node.outputs[0], node.inputs[0].shape.numpy())
    expect_within(node.outputs[0], np.array(x.low), np.array(x.high))
    if node.op_type == "SplitSteps":
        channels = node.attributes["channels"].value
        expect("whether there are such channels", 0 <= channels < len(node.inputs[0].shape), True)


JOIN_STEPS = register(
    Op("JoinSteps (x) => (y) { y = Identity(x) }", reference=join_steps, verify=_verify)
)
SPLIT_STEPS = register(
    Op(
        "SplitSteps <channels> (x) => (y) { y = Identity(x) }",
        reference=split_steps,
        verify=_verify,
    )
)
