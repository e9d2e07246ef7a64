"""AddPlanes: the sum of two packed tensors of small integers, a residual connection."""

from __future__ import annotations

import numpy as np

from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.planes import pack_planes, unpack_planes


def add_planes(a: np.ndarray, b: np.ndarray, *, channels: int, planes: int) -> np.ndarray:
    """a + b channel by channel: uint32 [..., Pa, words] + [..., Pb, words] -> [..., planes, words].

    `planes` must hold every sum.
    """
    sums = unpack_planes(a, channels=channels) + unpack_planes(b, channels=channels)
    return pack_planes(sums, planes=planes)


ADD_PLANES = register(
    Op(
        """
        AddPlanes <channels, planes> (a, b) => (y)
        {
            a_rows = ai.hqc.kernel.UnpackPlanes <channels: int = @channels> (a)
            b_rows = ai.hqc.kernel.UnpackPlanes <channels: int = @channels> (b)
            sums = Add(a_rows, b_rows)
            y = ai.hqc.kernel.PackPlanes <planes: int = @planes> (sums)
        }
        """,
        reference=add_planes,
        domain=KERNEL,
    )
)
