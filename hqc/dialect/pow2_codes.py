"""Pow2Codes: what QuantPow2 makes of weights, from their codes: how files store it."""

from __future__ import annotations

import numpy as np

from hqc.dialect.op import Op, register
from hqc.dialect.quant_pow2 import QUANT_POW2, magnitudes
from hqc.dialect.quant_uniform import ALONG, along


def pow2_places(shifts: np.ndarray) -> np.ndarray:
    """Which level each is: sign * 2^(n-1), as `pow2_codes` gives them -> sign * n; 0 -> 0."""
    return np.sign(shifts) * np.frexp(np.abs(shifts))[1]


def from_pow2_codes(
    codes: np.ndarray, scale: np.ndarray, *, bits: int, axis: int = 0
) -> np.ndarray:
    """sign * scale * 2^(n-K), K = 2^(b-1) - 1, for a code sign * n; 0 for 0: `QuantPow2`'s floats.

    The codes are integers of any type, -K to K; the attributes are that quantizer's. Files hold
    quantized weights so.
    """
    x = codes.astype(np.float32)
    level = np.float32(2.0) ** (np.abs(x) - np.float32(magnitudes(bits)))
    return np.sign(x) * level * along(axis, scale, codes.ndim)


POW2_CODES = register(
    Op(
        """
        Pow2Codes <bits, axis: int = 0> (codes, scale) => (y)
        {
            x = Cast <to = 1> (codes)
        """
        + ALONG
        + """
            bits = Constant <value_int: int = @bits> ()
            one = Constant <value_int = 1> ()
            magnitude_bits = Sub(bits, one)
            two_int = Constant <value_int = 2> ()
            all = Pow(two_int, magnitude_bits)
            count_int = Sub(all, one)
            count = Cast <to = 1> (count_int)

            size = Abs(x)
            exponent = Sub(size, count)
            two = Constant <value_float = 2.0> ()
            level = Pow(two, exponent)
            sign = Sign(x)
            signed = Mul(sign, level)
            y = Mul(signed, step)
        }
        """,
        reference=from_pow2_codes,
        check=QUANT_POW2.check,
    )
)
