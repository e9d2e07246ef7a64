"""TwoBitCodes: four codes from each byte, since opset 21 has no tensors of 2 bits."""

from __future__ import annotations

import math

import numpy as np

from hqc.dialect.op import Op, register

_SHIFTS = np.arange(0, 8, 2, dtype=np.uint8)


def two_bit_codes(fields: np.ndarray, *, shape: list[int], signed: int = 1) -> np.ndarray:
    """uint8 [bytes] -> int8 codes of `shape`: -2 to 1 in two's complement, or 0 to 3.

    The first code of a byte is in its lowest bits; what the last byte has beyond them is ignored.
    """
    unsigned = (fields[:, None] >> _SHIFTS & 3).reshape(-1)[: math.prod(shape)].astype(np.int8)
    half = np.int8(2 * signed)
    return ((unsigned ^ half) - half).reshape(shape)


def packed(codes: np.ndarray) -> np.ndarray:
    """Integer codes of 2 bits -> uint8 [ceil(codes / 4)], as `two_bit_codes` reads them."""
    fields = codes.reshape(-1).astype(np.int8).view(np.uint8) & 3
    filled = np.pad(fields, (0, -fields.size % 4)).reshape(-1, 4)
    return np.bitwise_or.reduce(filled << _SHIFTS, axis=1)


def _problem(attributes: dict) -> str | None:
    shape = attributes["shape"]
    if not all(isinstance(n, int) and n > 0 for n in shape):
        return f"shape is {list(shape)}, must be of sizes above 0"
    return None


TWO_BIT_CODES = register(
    Op(
        """
        TwoBitCodes <shape, signed: int = 1> (fields) => (codes)
        {
            shifts = Constant <value = uint8[4] {0, 2, 4, 6}> ()
            three = Constant <value = uint8[1] {3}> ()
            minus_one = Constant <value_ints = [-1]> ()
            zero = Constant <value_ints = [0]> ()
            column = Unsqueeze(fields, minus_one)
            shifted = BitShift <direction = "RIGHT"> (column, shifts)
            masked = BitwiseAnd(shifted, three)
            all = Reshape(masked, minus_one)
            shape = Constant <value_ints: ints = @shape> ()
            count = ReduceProd(shape)
            kept = Slice(all, zero, count)
            shaped = Reshape(kept, shape)
            unsigned = Cast <to = 3> (shaped)
            two = Constant <value_int = 2> ()
            signed = Constant <value_int: int = @signed> ()
            half_int = Mul(signed, two)
            half = Cast <to = 3> (half_int)
            flipped = BitwiseXor(unsigned, half)
            codes = Sub(flipped, half)
        }
        """,
        reference=two_bit_codes,
        check=_problem,
    )
)
