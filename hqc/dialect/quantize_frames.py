"""QuantizeFrames: real frames to unsigned integers, the compiled network's entry."""

from __future__ import annotations

import numpy as np

from hqc.dialect.op import Op, register


def quantize_frames(x: np.ndarray, scale: np.ndarray, *, qmax: int) -> np.ndarray:
    """clip(round(x / scale), 0, qmax), half to even: float32, any shape -> uint8."""
    return np.clip(np.round(x / scale), 0, qmax).astype(np.uint8)


QUANTIZE_FRAMES = register(
    Op(
        """
        QuantizeFrames <qmax> (x, scale) => (y)
        {
            zero = Constant <value_float = 0.0> ()
            high_int = Constant <value_int: int = @qmax> ()
            high = Cast <to = 1> (high_int)
            ratio = Div(x, scale)
            rounded = Round(ratio)
            clipped = Clip(rounded, zero, high)
            y = Cast <to = 2> (clipped)
        }
        """,
        reference=quantize_frames,
        check=lambda a: None if 1 <= a["qmax"] <= 255 else f"qmax is {a['qmax']}, not 1 to 255",
    )
)
