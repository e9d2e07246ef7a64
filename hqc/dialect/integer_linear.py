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
) -> np.ndarray:
    """(counts @ weights + bias) * scale: int32 [1, C], int8 [C, O], int32 [O] -> float32 [1, O].

    The sum is exact; its conversion and the one multiplication round once each, to nearest even.
    """
    sums = counts.astype(np.int32) @ weights.astype(np.int32) + bias
    return sums.astype(np.float32) * scale


INTEGER_LINEAR = register(
    Op(
        """
        IntegerLinear <weight_bits, weight_scheme> (counts, weights, bias, scale) => (y)
        {
            wide = Cast <to = 6> (weights)
            products = MatMul(counts, wide)
            sums = Add(products, bias)
            real = Cast <to = 1> (sums)
            y = Mul(real, scale)
        }
        """,
        reference=integer_linear,
        domain=DIALECT,
    )
)
