"""Rescale: integers of one scale a channel to integers of one scale, in fixed point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from hqc.dialect.intervals import rescale_interval
from hqc.dialect.invariants import constant_of, ends_along, expect_shape, expect_within, facts_of
from hqc.dialect.op import Op, register


def rescale(x: np.ndarray, multiplier: np.ndarray, bias: np.ndarray, *, shift: int) -> np.ndarray:
    """(x * multiplier + bias) >> shift, in 64 bits, rounded down; proven to fit 32.

    Integers -> int32, same shape. `multiplier` int32 and `bias` int64 broadcast to x; half of
    2^shift in the bias rounds to nearest.
    """
    return ((x.astype(np.int64) * multiplier + bias) >> shift).astype(np.int32)


def verify_rescaling(
    node: ir.Node, factors: Sequence[ir.Value], low: np.ndarray, high: np.ndarray
) -> None:
    """The end of an op that makes potentials: `factors` are multiplier and bias.

    low, high: what its sums can reach. Products must fit 64 bits, results 32.
    """
    facts_of(node.outputs[0], "potentials")
    multiplier, bias = (constant_of(v).reshape(-1) for v in factors)
    ends = rescale_interval(low, high, multiplier, bias, node.attributes["shift"].value)
    expect_within(node.outputs[0], *ends)


def _verify(node: ir.Node) -> None:
    facts_of(node.inputs[0], "spikes", "levels", "sums", "potentials")
    expect_shape(node.outputs[0], node.inputs[0].shape.numpy())
    verify_rescaling(node, node.inputs[1:], *ends_along(node.inputs[0], node.inputs[1:]))


RESCALE = register(
    Op(
        """
        Rescale <shift> (x, multiplier, bias) => (y)
        {
            two = Constant <value_int = 2> ()
            shift = Constant <value_int: int = @shift> ()
            divisor = Pow(two, shift)
            x_wide = Cast <to = 7> (x)
            factor = Cast <to = 7> (multiplier)
            product = Mul(x_wide, factor)
            raised = Add(product, bias)
            remainder = Mod(raised, divisor)
            multiple = Sub(raised, remainder)
            shifted = Div(multiple, divisor)
            y = Cast <to = 6> (shifted)
        }
        """,
        reference=rescale,
        verify=_verify,
        check=lambda a: None if 0 <= a["shift"] <= 62 else f"shift is {a['shift']}, not 0 to 62",
    )
)
