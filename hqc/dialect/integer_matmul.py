"""IntegerMatMul: a product with codes of any width, exact in 64 bits."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.intervals import sum_interval
from hqc.dialect.invariants import constant_of, expect, expect_shape, expect_within, facts_of
from hqc.dialect.op import Op, register


def integer_matmul(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """x integers [..., K] @ weights integers [K, N] -> int64 [..., N]."""
    return x.astype(np.int64) @ weights.astype(np.int64)


def verify_matmul(node: ir.Node) -> None:
    """A linear layer of codes [K, N] on the last axis of its input."""
    x = facts_of(node.inputs[0], "frames", "spikes", "levels", "potentials")
    facts_of(node.outputs[0], "sums")
    codes = constant_of(node.inputs[1])
    shape = list(node.inputs[0].shape.numpy())
    expect("the codes' input channels", len(codes), shape[-1])
    expect_shape(node.outputs[0], [*shape[:-1], codes.shape[1]])
    expect_within(node.outputs[0], *sum_interval(codes.T, np.array(x.low), np.array(x.high)))


INTEGER_MATMUL = register(
    Op(
        """
        IntegerMatMul (x, weights) => (y)
        {
            x_wide = Cast <to = 7> (x)
            weights_wide = Cast <to = 7> (weights)
            y = MatMul(x_wide, weights_wide)
        }
        """,
        reference=integer_matmul,
        verify=verify_matmul,
    )
)
