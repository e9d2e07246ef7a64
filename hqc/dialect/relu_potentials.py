"""ReluPotentials: what of potentials is above 0."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.invariants import expect, expect_shape, expect_within, facts_of
from hqc.dialect.op import KERNEL, Op, register


def relu_potentials(x: np.ndarray) -> np.ndarray:
    """max(x, 0): int32 [T, H, W, C]."""
    return np.maximum(x, 0)


def verify_relu(node: ir.Node) -> None:
    """Potentials of one unit, before and after."""
    x, y = (facts_of(v, "potentials") for v in (node.inputs[0], node.outputs[0]))
    expect("the unit", y.unit, x.unit)
    expect_shape(node.outputs[0], node.inputs[0].shape.numpy())
    expect_within(node.outputs[0], np.maximum(x.low, 0), np.maximum(x.high, 0))


RELU_POTENTIALS = register(
    Op(
        "ReluPotentials (x) => (y) { y = Relu(x) }",
        reference=relu_potentials,
        verify=verify_relu,
        domain=KERNEL,
    )
)
