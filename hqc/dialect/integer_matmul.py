"""IntegerMatMul: a product with codes of any width, exact in 64 bits."""

from __future__ import annotations

import numpy as np

from hqc.dialect.op import Op, register


def integer_matmul(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """x integers [..., K] @ weights integers [K, N] -> int64 [..., N]."""
    return x.astype(np.int64) @ weights.astype(np.int64)


INTEGER_MATMUL = register(
    Op(
        """
        IntegerMatMul (x, weights) => (y)
        {
            x_wide = Cast <to = 7> (x)
            weights_wide = Cast <to = 7> (weights)
            y = MatMul(x_wide, weights_wide)
        }
        """,
        reference=integer_matmul,
    )
)
