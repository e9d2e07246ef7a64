"""RescalePotentials: potentials in another unit."""

from __future__ import annotations

import numpy as np

from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.potentials import pad_channels, take_channels
from hqc.dialect.rescale import rescale


def rescale_potentials(
    x: np.ndarray, multiplier: np.ndarray, bias: np.ndarray, *, channels: int, shift: int
) -> np.ndarray:
    """`Rescale` by channel: int32 [T, H, W, C] -> the same."""
    taken = take_channels(x, channels=channels)
    return pad_channels(rescale(taken, multiplier, bias, shift=shift))


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
        domain=KERNEL,
    )
)
