"""PotentialNeurons: integer neurons on potentials, packed spikes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.fixed_point_lif import FORWARD, SIGNATURE, fixed_point_lif, verify_neurons
from hqc.dialect.invariants import expect, expect_channels, facts_of
from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.planes import pack_planes, verify_packed
from hqc.dialect.potentials import take_channels, verify_potentials


def potential_neurons(
    x: np.ndarray,
    bias: np.ndarray,
    threshold: np.ndarray,
    reset: np.ndarray,
    *,
    channels: int,
    **lif: int,
) -> np.ndarray:
    """Potentials int32 [T, H, W, C] -> spikes uint32 [T, H, W, 1, words(C)]."""
    accumulator = take_channels(x, channels=channels)
    return pack_planes(fixed_point_lif(accumulator, bias, threshold, reset, **lif), planes=1)


def _verify(node: ir.Node) -> None:
    x = facts_of(node.inputs[0], "potentials")
    channels = node.attributes["channels"].value
    shape = verify_packed(node.outputs[0], channels)
    verify_potentials(node.inputs[0], channels)
    expect("time steps and positions", shape[:3], list(node.inputs[0].shape.numpy()[:3]))
    for level in node.inputs[1:]:
        expect_channels(level, channels)
    verify_neurons(node, node.inputs[1:], np.array(x.low), np.array(x.high))


POTENTIAL_NEURONS = register(
    Op(
        f"""
        PotentialNeurons <channels, {SIGNATURE}> (x, bias, threshold, reset) => (y)
        {{
            accumulator = ai.hqc.kernel.TakeChannels <channels: int = @channels> (x)
            spikes = ai.hqc.FixedPointLIF <{FORWARD}> (accumulator, bias, threshold, reset)
            y = ai.hqc.kernel.PackPlanes <planes = 1> (spikes)
        }}
        """,
        reference=potential_neurons,
        verify=_verify,
        domain=KERNEL,
    )
)
