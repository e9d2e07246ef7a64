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
    shift: int = 0,
) -> np.ndarray:
    """((counts @ weights) * 2^shift + bias) * scale -> float32 [1, O].

    counts int32 [1, C], weights integers [C, O], bias [O], scale float32 [O]. The bias has `shift`
    bits below the unit of the sums. All is exact in 32 bits, or where `wide` in 64, and the bias is
    an integer of that size; the conversion and the one multiplication round once each, to nearest
    even.
    """
    sums = ((counts.astype(np.int64) @ weights.astype(np.int64)) << shift) + bias
    return sums.astype(np.float32) * scale


INTEGER_LINEAR = register(
    Op(
        """
        IntegerLinear <weight_bits, weight_scheme, wide: int = 0, shift: int = 0>
            (counts, weights, bias, scale) => (y)
        {
            counts_wide = Cast <to = 7> (counts)
            weights_wide = Cast <to = 7> (weights)
            bias_wide = Cast <to = 7> (bias)
            products = MatMul(counts_wide, weights_wide)
            two = Constant <value_int = 2> ()
            shift = Constant <value_int: int = @shift> ()
            unit = Pow(two, shift)
            raised = Mul(products, unit)
            sums = Add(raised, bias_wide)
            real = Cast <to = 1> (sums)
            y = Mul(real, scale)
        }
        """,
        reference=integer_linear,
        domain=DIALECT,
        check=lambda a: None if 0 <= a["shift"] <= 62 else f"shift is {a['shift']}, not 0 to 62",
    )
)
