"""SumSpikes: spikes per channel, over time and position."""

from __future__ import annotations

import numpy as np

from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.planes import unpack_planes


def sum_spikes(x: np.ndarray, *, channels: int) -> np.ndarray:
    """x uint32 [T, H, W, P, words] -> int32 [1, channels], the sums over T, H and W."""
    rows = unpack_planes(x, channels=channels)
    return rows.sum((0, 1, 2), dtype=np.int32)[None]


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
        domain=KERNEL,
    )
)
