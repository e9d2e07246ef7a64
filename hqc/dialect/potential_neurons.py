"""PotentialNeurons: integer neurons on potentials, packed spikes."""

from __future__ import annotations

import numpy as np

from hqc.dialect.fixed_point_lif import FORWARD, SIGNATURE, fixed_point_lif
from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.planes import pack_planes
from hqc.dialect.potentials import take_channels


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
        domain=KERNEL,
    )
)
