"""AndSpikes: where both fire; a mask may be the same at every position."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.invariants import InvariantError, expect_shape, facts_of
from hqc.dialect.op import KERNEL, Op, register


def and_spikes(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a uint32 [T, H, W, 1, words], b the same or [T, 1, 1, 1, words] -> as a."""
    return a & b


def _verify(node: ir.Node) -> None:
    for value in (*node.inputs, node.outputs[0]):
        facts_of(value, "spikes")
    a, b = (list(v.shape.numpy()) for v in node.inputs)
    if b not in (a, [a[0], 1, 1, *a[3:]]):
        raise InvariantError(f"it joins spikes {a} and {b}")
    expect_shape(node.outputs[0], a)


AND_SPIKES = register(
    Op(
        "AndSpikes (a, b) => (y) { y = BitwiseAnd(a, b) }",
        reference=and_spikes,
        verify=_verify,
        domain=KERNEL,
    )
)
