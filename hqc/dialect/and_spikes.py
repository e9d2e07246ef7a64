"""AndSpikes: where both fire; a mask may be the same at every position."""

from __future__ import annotations

import numpy as np

from hqc.dialect.op import KERNEL, Op, register


def and_spikes(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a uint32 [T, H, W, 1, words], b the same or [T, 1, 1, 1, words] -> as a."""
    return a & b


AND_SPIKES = register(
    Op("AndSpikes (a, b) => (y) { y = BitwiseAnd(a, b) }", reference=and_spikes, domain=KERNEL)
)
