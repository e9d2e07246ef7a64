"""Rounding of weights with scales from their range (QSViT)."""

from __future__ import annotations

import numpy as np

from hqc.dialect.quant_uniform import quant_uniform

_LEAST = np.float32(1e-8)


def range_scale(weights: np.ndarray, bits: int, axis: int | None = None) -> np.ndarray:
    """S = w_range / q_range, with Qmax = 2^(b-1) - 1 and Qmin = -2^(b-1).

    One number for the layer, or one for each channel of `axis`, in float32. The range is symmetric,
    twice the largest |w|, as the codes have no zero point: with max - min a weight that is alone on
    its side would be clipped, at any precision.
    """
    others = None if axis is None else tuple(set(range(weights.ndim)) - {axis % weights.ndim})
    largest = np.abs(weights).max(others).astype(np.float32)
    return np.maximum(2 * largest / np.float32(2**bits - 1), _LEAST)


def rounded(weights: np.ndarray, bits: int, axis: int | None = None) -> np.ndarray:
    """The weights as a signed uniform quantizer of that scale gives them, in float32."""
    scale = range_scale(weights, bits, axis)
    return quant_uniform(weights, scale, bits=bits, axis=axis or 0)
