"""QuantPow2: zero and signed powers of two below a scale, per tensor or per channel."""

from __future__ import annotations

import numpy as np

from hqc.dialect.op import Op, register
from hqc.dialect.quant_uniform import ALONG, along


def magnitudes(bits: int) -> int:
    """How many magnitudes besides zero a code of `bits` has: K = 2^(b-1) - 1."""
    return 2 ** (bits - 1) - 1


def pow2_codes(x: np.ndarray, scale: np.ndarray, *, bits: int, axis: int = 0) -> np.ndarray:
    """The levels as integers, sign * 2^(K-1-k) or 0: shifts, in units of scale * 2^-(K-1)."""
    count = magnitudes(bits)
    levels = np.float32(2.0) ** -np.arange(count - 1, -1, -1, dtype=np.float32)
    levels = np.concatenate([np.zeros(1, np.float32), levels])
    midpoints = (levels[1:] + levels[:-1]) / 2
    ratio = x / along(axis, scale, x.ndim)
    level = levels[np.searchsorted(midpoints, np.abs(ratio), side="right")]
    return np.sign(ratio) * level * np.float32(2.0 ** (count - 1))


def quant_pow2(x: np.ndarray, scale: np.ndarray, *, bits: int, axis: int = 0) -> np.ndarray:
    """Nearest of { 0, +-scale * 2^-k : k = 0 .. K-1 }, K = 2^(b-1) - 1; ties to the larger.

    The power-of-two scheme of SpikeHQ. 2 bit: 0 and +-scale; 4 bit: seven magnitudes. Decided by
    comparing |x / scale| with the midpoints. `scale` is one number or one per channel of `axis`.
    """
    unit = np.float32(2.0 ** (1 - magnitudes(bits)))
    return pow2_codes(x, scale, bits=bits, axis=axis) * unit * along(axis, scale, x.ndim)


def _check(attributes: dict) -> str | None:
    if not isinstance(attributes["bits"], int) or not 2 <= attributes["bits"] <= 4:
        return f"bits is {attributes['bits']}, must be 2 to 4"
    return None


QUANT_POW2 = register(
    Op(
        """
        QuantPow2 <bits, axis: int = 0> (x, scale) => (y)
        {
            zero = Constant <value_int = 0> ()
            one = Constant <value_int = 1> ()
        """
        + ALONG
        + """

            bits = Constant <value_int: int = @bits> ()
            magnitude_bits = Sub(bits, one)
            two_int = Constant <value_int = 2> ()
            all = Pow(two_int, magnitude_bits)
            count = Sub(all, one)
            k = Range(zero, count, one)
            last = Sub(count, one)
            is_last = Equal(k, last)
            minus_k_int = Neg(k)
            minus_k = Cast <to = 1> (minus_k_int)
            two = Constant <value_float = 2.0> ()
            half = Constant <value_float = 0.5> ()
            level = Pow(two, minus_k)
            halved = Mul(level, half)
            zeros = Sub(level, level)
            below = Where(is_last, zeros, halved)
            sum = Add(level, below)
            midpoint = Mul(sum, half)
            rise = Sub(level, below)

            ratio = Div(x, step)
            size = Abs(ratio)
            sizes = Unsqueeze(size, minus_one)
            reached = GreaterOrEqual(sizes, midpoint)
            rises = Where(reached, rise, zeros)
            nearest = ReduceSum <keepdims = 0> (rises, minus_one)
            sign = Sign(ratio)
            signed = Mul(sign, nearest)
            y = Mul(signed, step)
        }
        """,
        reference=quant_pow2,
        check=_check,
    )
)
