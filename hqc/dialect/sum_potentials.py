"""SumPotentials and CountSpikes: sums over the positions of each time step."""

from __future__ import annotations

import numpy as np

from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.spikes_as_potentials import spikes_as_potentials


def sum_potentials(x: np.ndarray) -> np.ndarray:
    """Potentials int32 [T, H, W, C] -> [T, 1, 1, C]; the sums are proven to fit."""
    return x.sum((1, 2), dtype=np.int32, keepdims=True)


def count_spikes(x: np.ndarray, *, channels: int) -> np.ndarray:
    """x uint32 [T, H, W, P, words(C)] -> potentials int32 [T, 1, 1, 32 words(C)]."""
    return sum_potentials(spikes_as_potentials(x, channels=channels))


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
        domain=KERNEL,
    )
)
