"""SumSpikes: spikes per channel, over time and position."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.invariants import expect_shape, expect_within, facts_of
from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.planes import unpack_planes, verify_packed


def sum_spikes(x: np.ndarray, *, channels: int) -> np.ndarray:
    """x uint32 [T, H, W, P, words] -> int32 [1, channels], the sums over T, H and W."""
    rows = unpack_planes(x, channels=channels)
    return rows.sum((0, 1, 2), dtype=np.int32)[None]


def _verify(node: ir.Node) -> None:
    x = facts_of(node.inputs[0], "spikes", "levels")
    channels = node.attributes["channels"].value
    time_steps, height, width, *_ = verify_packed(node.inputs[0], channels)
    expect_shape(node.outputs[0], (1, channels))
    count = time_steps * height * width
    expect_within(node.outputs[0], np.multiply(x.low, count), np.multiply(x.high, count))


SUM_SPIKES = register(
    Op(
        """
        SumSpikes <channels> (x) => (y)
        {
            rows = ai.hqc.kernel.UnpackPlanes <channels: int = @channels> (x)
            wide = Cast <to = 6> (rows)
            axes = Constant <value_ints = [0, 1, 2]> ()
            sums = ReduceSum <keepdims = 0> (wide, axes)
            zero = Constant <value_ints = [0]> ()
            y = Unsqueeze(sums, zero)
        }
        """,
        reference=sum_spikes,
        verify=_verify,
        domain=KERNEL,
        lasts=True,
    )
)
