"""GatePotentials: potentials times the spikes of the same places."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.invariants import expect, expect_shape, expect_within, facts_of
from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.planes import verify_packed
from hqc.dialect.potentials import verify_potentials
from hqc.dialect.spikes_as_potentials import spikes_as_potentials


def gate_potentials(x: np.ndarray, gate: np.ndarray, *, channels: int) -> np.ndarray:
    """x int32 [T, H, W, 32 words(C)] * gate uint32 [T, H, W, P, words(C)] -> as x."""
    return x * spikes_as_potentials(gate, channels=channels)


def expect_products(node: ir.Node) -> None:
    """The output holds what the first input can be, times what the second can."""
    x = facts_of(node.inputs[0], "potentials", "spikes", "levels")
    most = facts_of(node.inputs[1], "spikes", "levels").highest
    low, high = (np.multiply(end, most) for end in (x.low, x.high))
    expect_within(node.outputs[0], np.minimum(low, 0), np.maximum(high, 0))


def verify_gate(node: ir.Node) -> None:
    """A product of two activations of one shape, element by element."""
    facts_of(node.outputs[0], "sums")
    for value in node.inputs:
        expect("the type of a factor", value.dtype, ir.DataType.INT32)
        expect_shape(value, node.outputs[0].shape.numpy())
    expect_products(node)


def _verify(node: ir.Node) -> None:
    channels = node.attributes["channels"].value
    for value in (node.inputs[0], node.outputs[0]):
        facts_of(value, "potentials")
        verify_potentials(value, channels)
    shape = verify_packed(node.inputs[1], channels)
    expect("time steps and positions", shape[:3], list(node.inputs[0].shape.numpy()[:3]))
    expect_shape(node.outputs[0], node.inputs[0].shape.numpy())
    expect_products(node)


GATE_POTENTIALS = register(
    Op(
        """
        GatePotentials <channels> (x, gate) => (y)
        {
            factor = ai.hqc.kernel.SpikesAsPotentials <channels: int = @channels> (gate)
            y = Mul(x, factor)
        }
        """,
        reference=gate_potentials,
        verify=_verify,
        domain=KERNEL,
    )
)
