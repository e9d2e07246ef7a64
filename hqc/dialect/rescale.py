"""Rescale: integers of one scale a channel to integers of one scale, in fixed point."""

from __future__ import annotations

import numpy as np

from hqc.dialect.op import Op, register

LARGEST = 2**31 - 1


def rescale(
    x: np.ndarray, multiplier: np.ndarray, bias: np.ndarray, *, shift: int, limit: int = LARGEST
) -> np.ndarray:
    """(x * multiplier + bias) >> shift, in 64 bits, rounded down, then held within +-limit.

    Integers -> int32, same shape. `multiplier` int32 and `bias` int64 broadcast to x; half of
    2^shift in the bias rounds to nearest.
    """
    scaled = (x.astype(np.int64) * multiplier + bias) >> shift
    return np.clip(scaled, -limit, limit).astype(np.int32)


RESCALE = register(
    Op(
        f"""
        Rescale <shift, limit: int = {LARGEST}> (x, multiplier, bias) => (y)
        {{
            two = Constant <value_int = 2> ()
            shift = Constant <value_int: int = @shift> ()
            divisor = Pow(two, shift)
            x_wide = Cast <to = 7> (x)
            factor = Cast <to = 7> (multiplier)
            product = Mul(x_wide, factor)
            raised = Add(product, bias)
            remainder = Mod(raised, divisor)
            multiple = Sub(raised, remainder)
            shifted = Div(multiple, divisor)
            most = Constant <value_int: int = @limit> ()
            least = Neg(most)
            exceeds = Greater(shifted, most)
            capped = Where(exceeds, most, shifted)
            falls = Less(capped, least)
            held = Where(falls, least, capped)
            y = Cast <to = 6> (held)
        }}
        """,
        reference=rescale,
        check=lambda a: None if 0 <= a["shift"] <= 62 else f"shift is {a['shift']}, not 0 to 62",
    )
)
