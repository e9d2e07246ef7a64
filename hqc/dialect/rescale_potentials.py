"""RescalePotentials: potentials in another unit."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.invariants import expect_channels, expect_shape, facts_of
from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.potentials import pad_channels, take_channels, verify_potentials
from hqc.dialect.rescale import rescale, verify_rescaling


def rescale_potentials(
    x: np.ndarray,
    multiplier: np.ndarray,
    bias: np.ndarray,
    *,
    channels: int,
    shift: int,
) -> np.ndarray:
    """`Rescale` by channel: int32 [T, H, W, C] -> the same."""
    taken = take_channels(x, channels=channels)
    return pad_channels(rescale(taken, multiplier, bias, shift=shift))


def _verify(node: ir.Node) -> None:
    x = facts_of(node.inputs[0], "potentials")
    channels = node.attributes["channels"].value
    verify_potentials(node.inputs[0], channels)
    expect_shape(node.outputs[0], node.inputs[0].shape.numpy())
    for factor in node.inputs[1:]:
        expect_channels(factor, channels)
    verify_rescaling(node, node.inputs[1:], np.array(x.low), np.array(x.high))


RESCALE_POTENTIALS = register(
    Op(
        """
        RescalePotentials <channels, shift> (x, multiplier, bias) => (y)
        {
            rows = ai.hqc.kernel.TakeChannels <channels: int = @channels> (x)
            scaled = ai.hqc.Rescale <shift: int = @shift> (rows, multiplier, bias)
            y = ai.hqc.kernel.PadChannels (scaled)
        }
        """,
        reference=rescale_potentials,
        verify=_verify,
        domain=KERNEL,
    )
)
