"""UniformCodes: what QuantUniform makes of weights, from their codes: how files store it."""

from __future__ import annotations

import numpy as np

from hqc.dialect.op import Op, register
from hqc.dialect.quant_uniform import ALONG, QUANT_UNIFORM, along


def from_uniform_codes(
    codes: np.ndarray,
    scale: np.ndarray,
    *,
    bits: int,
    signed: int = 1,
    narrow: int = 0,
    axis: int = 0,
) -> np.ndarray:
    """codes * scale: integers of any type -> the floats that `QuantUniform` gives.

    The attributes are that quantizer's. Files hold quantized weights so.
    """
    return codes.astype(np.float32) * along(axis, scale, codes.ndim)


UNIFORM_CODES = register(
    Op(
        """
        UniformCodes <bits, signed: int = 1, narrow: int = 0, axis: int = 0>
            (codes, scale) => (y)
        {
            x = Cast <to = 1> (codes)
        """
        + ALONG
        + """
            y = Mul(x, step)
        }
        """,
        reference=from_uniform_codes,
        check=QUANT_UNIFORM.check,
    )
)
