"""QuantUniform: equally spaced levels, signed or not, per tensor or per channel."""

from __future__ import annotations

import numpy as np

from hqc.dialect.op import Op, register


def code_range(bits: int, signed: int = 1, narrow: int = 0) -> tuple[int, int]:
    """The smallest and the largest integer code."""
    if signed:
        return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


ALONG = """
            minus_one = Constant <value_ints = [-1]> ()
            axis_int = Constant <value_int: int = @axis> ()
            axis = Reshape(axis_int, minus_one)
            shape = Shape(x)
            rank = Shape(shape)
            ones = ConstantOfShape <value = int64[1] {1}> (rank)
            along = ScatterElements(ones, axis, minus_one)
            step = Reshape(scale, along)
"""
"""Nodes of a body that give `step`, the scale shaped to broadcast along `@axis` of `x`."""


def along(axis: int, scale: np.ndarray, ndim: int) -> np.ndarray:
    """A scale, one number or one a channel, shaped to broadcast along `axis` of `ndim` axes."""
    shape = [1] * ndim
    shape[axis] = -1
    return np.reshape(scale, shape)


def uniform_codes(
    x: np.ndarray,
    scale: np.ndarray,
    *,
    bits: int,
    signed: int = 1,
    narrow: int = 0,
    axis: int = 0,
) -> np.ndarray:
    """The integer codes, as floats: clip(round(x / scale), qmin, qmax)."""
    low, high = code_range(bits, signed, narrow)
    return np.clip(np.round(x / along(axis, scale, x.ndim)), low, high)


def quant_uniform(x: np.ndarray, scale: np.ndarray, **attributes: int) -> np.ndarray:
    """clip(round(x / scale), qmin, qmax) * scale, rounding half to even.

    Signed: qmin = -2^(b-1) (+1 if narrow), qmax = 2^(b-1) - 1, the integer range of QSViT;
    unsigned: 0 and 2^b - 1. `scale` is one number or one per channel of `axis`.
    """
    return uniform_codes(x, scale, **attributes) * along(attributes.get("axis", 0), scale, x.ndim)


def _check(attributes: dict) -> str | None:
    if not isinstance(attributes["bits"], int) or not 2 <= attributes["bits"] <= 16:
        return f"bits is {attributes['bits']}, must be 2 to 16"
    return None


QUANT_UNIFORM = register(
    Op(
        """
        QuantUniform <bits, signed: int = 1, narrow: int = 0, axis: int = 0>
            (x, scale) => (y)
        {
            one = Constant <value_int = 1> ()
        """
        + ALONG
        + """

            bits = Constant <value_int: int = @bits> ()
            signed = Constant <value_int: int = @signed> ()
            narrow = Constant <value_int: int = @narrow> ()
            two = Constant <value_int = 2> ()
            magnitude_bits = Sub(bits, signed)
            levels = Pow(two, magnitude_bits)
            high_int = Sub(levels, one)
            below = Sub(narrow, levels)
            low_int = Mul(below, signed)
            high = CastLike(high_int, x)
            low = CastLike(low_int, x)

            ratio = Div(x, step)
            rounded = Round(ratio)
            codes = Clip(rounded, low, high)
            y = Mul(codes, step)
        }
        """,
        reference=quant_uniform,
        check=_check,
    )
)
