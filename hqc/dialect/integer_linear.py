"""IntegerLinear: the classifier on spike counts, the compiled network's exit."""

from __future__ import annotations

import numpy as np

from hqc.dialect.op import DIALECT, Op, register


def integer_linear(
    counts: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray,
    scale: np.ndarray,
    *,
    weight_bits: int,
    weight_scheme: str,
    wide: int = 0,
) -> np.ndarray:
    """(counts @ weights + bias) * scale: int32 [1, C], int8 [C, O], int32 [O] -> float32 [1, O].

    The sum is exact, in 32 bits unless `wide`; its conversion and the one multiplication round once
    each, to nearest even. Codes of more than 8 bits are int16 or int32.
    """
    sums = counts.astype(np.int64) @ weights.astype(np.int64) + bias
    return sums.astype(np.float32) * scale


INTEGER_LINEAR = register(
    Op(
        """
        IntegerLinear <weight_bits, weight_scheme, wide: int = 0>
            (counts, weights, bias, scale) => (y)
        {
            counts_wide = Cast <to = 7> (counts)
            weights_wide = Cast <to = 7> (weights)
            bias_wide = Cast <to = 7> (bias)
            products = MatMul(counts_wide, weights_wide)
            sums = Add(products, bias_wide)
            real = Cast <to = 1> (sums)
            y = Mul(real, scale)
        }
        """,
        reference=integer_linear,
        domain=DIALECT,
    )
)
