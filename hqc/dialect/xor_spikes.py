"""XorSpikes: where one of two fires; so x times (1 - y) is x XOR (x AND y)."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.invariants import expect_shape, facts_of
from hqc.dialect.op import KERNEL, Op, register


def xor_spikes(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a and b uint32 [T, H, W, 1, words] -> the same."""
    return a ^ b


def _verify(node: ir.Node) -> None:
    for value in (*node.inputs, node.outputs[0]):
        facts_of(value, "spikes")
        expect_shape(value, node.inputs[0].shape.numpy())


XOR_SPIKES = register(
    Op(
        "XorSpikes (a, b) => (y) { y = BitwiseXor(a, b) }",
        reference=xor_spikes,
        verify=_verify,
        domain=KERNEL,
    )
)
