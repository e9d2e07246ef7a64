"""SpikesAsPotentials: packed small integers, unpacked."""

from __future__ import annotations

import numpy as np

from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.planes import unpack_planes
from hqc.dialect.potentials import pad_channels


def spikes_as_potentials(x: np.ndarray, *, channels: int) -> np.ndarray:
    """x uint32 [T, H, W, P, words(C)] -> int32 [T, H, W, 32 words(C)]."""
    return pad_channels(unpack_planes(x, channels=channels).astype(np.int32))


SPIKES_AS_POTENTIALS = register(
    Op(
        """
        SpikesAsPotentials <channels> (x) => (y)
        {
            rows = ai.hqc.kernel.UnpackPlanes <channels: int = @channels> (x)
            wide = Cast <to = 6> (rows)
            y = ai.hqc.kernel.PadChannels (wide)
        }
        """,
        reference=spikes_as_potentials,
        domain=KERNEL,
    )
)
