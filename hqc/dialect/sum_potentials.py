"""SumPotentials and CountSpikes: sums over the positions of each time step."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.invariants import expect_shape, expect_within, facts_of
from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.planes import verify_packed
from hqc.dialect.potentials import verify_potentials
from hqc.dialect.spikes_as_potentials import spikes_as_potentials


def sum_potentials(x: np.ndarray) -> np.ndarray:
    """Potentials int32 [T, H, W, C] -> [T, 1, 1, C]; the sums are proven to fit."""
    return x.sum((1, 2), dtype=np.int32, keepdims=True)


def count_spikes(x: np.ndarray, *, channels: int) -> np.ndarray:
    """x uint32 [T, H, W, P, words(C)] -> potentials int32 [T, 1, 1, 32 words(C)]."""
    return sum_potentials(spikes_as_potentials(x, channels=channels))


def _verify(node: ir.Node) -> None:
    x = facts_of(node.inputs[0], "potentials", "spikes", "levels")
    time_steps, height, width = node.inputs[0].shape.numpy()[:3]
    columns = node.outputs[0].shape.numpy()[3]
    if node.op_type == "CountSpikes":
        channels = node.attributes["channels"].value
        verify_packed(node.inputs[0], channels)
        verify_potentials(node.outputs[0], channels)
    expect_shape(node.outputs[0], (time_steps, 1, 1, columns))
    count = height * width
    expect_within(node.outputs[0], np.multiply(x.low, count), np.multiply(x.high, count))


SUM_POTENTIALS = register(
    Op(
        """
        SumPotentials (x) => (y)
        {
            positions = Constant <value_ints = [1, 2]> ()
            y = ReduceSum <keepdims = 1> (x, positions)
        }
        """,
        reference=sum_potentials,
        verify=_verify,
        domain=KERNEL,
    )
)

COUNT_SPIKES = register(
    Op(
        """
        CountSpikes <channels> (x) => (y)
        {
            rows = ai.hqc.kernel.SpikesAsPotentials <channels: int = @channels> (x)
            y = ai.hqc.kernel.SumPotentials (rows)
        }
        """,
        reference=count_spikes,
        verify=_verify,
        domain=KERNEL,
    )
)
