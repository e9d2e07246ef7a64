"""RescalePotentials: potentials in another unit."""

from __future__ import annotations

import numpy as np

from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.potentials import pad_channels, take_channels
from hqc.dialect.rescale import LARGEST, rescale


def rescale_potentials(
    x: np.ndarray,
    multiplier: np.ndarray,
    bias: np.ndarray,
    *,
    channels: int,
    shift: int,
    limit: int = LARGEST,
) -> np.ndarray:
    """`Rescale` by channel: int32 [T, H, W, C] -> the same."""
    taken = take_channels(x, channels=channels)
    return pad_channels(rescale(taken, multiplier, bias, shift=shift, limit=limit))


RESCALE_POTENTIALS = register(
    Op(
        f"""
        RescalePotentials <channels, shift, limit: int = {LARGEST}> (x, multiplier, bias) => (y)
        {{
            rows = ai.hqc.kernel.TakeChannels <channels: int = @channels> (x)
            scaled = ai.hqc.Rescale <shift: int = @shift, limit: int = @limit>
                (rows, multiplier, bias)
            y = ai.hqc.kernel.PadChannels (scaled)
        }}
        """,
        reference=rescale_potentials,
        domain=KERNEL,
    )
)
