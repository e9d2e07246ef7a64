"""IntegerMaxPool and PoolPotentials: the largest potential of a window."""

from __future__ import annotations

import numpy as np

from hqc.dialect.op import KERNEL, Op, register

_LEAST = np.iinfo(np.int32).min


def integer_max_pool(
    x: np.ndarray, *, kernel_shape: list[int], strides: list[int], pads: list[int]
) -> np.ndarray:
    """x int32 [B, C, H, W] -> [B, C, H', W']; padding never counts."""
    padding = ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3]))
    padded = np.pad(x, padding, constant_values=_LEAST)
    seen = np.lib.stride_tricks.sliding_window_view(padded, kernel_shape, axis=(2, 3))
    return seen[:, :, :: strides[0], :: strides[1]].max((-2, -1))


def pool_potentials(x: np.ndarray, **window: list[int]) -> np.ndarray:
    """`IntegerMaxPool` of potentials int32 [T, H, W, C]."""
    pooled = integer_max_pool(x.transpose(0, 3, 1, 2), **window)
    return np.ascontiguousarray(pooled.transpose(0, 2, 3, 1))


INTEGER_MAX_POOL = register(
    Op(
        """
        IntegerMaxPool <kernel_shape, strides, pads> (x) => (y)
        {
            real = Cast <to = 11> (x)
            pooled = MaxPool <kernel_shape: ints = @kernel_shape, strides: ints = @strides,
                              pads: ints = @pads> (real)
            y = Cast <to = 6> (pooled)
        }
        """,
        reference=integer_max_pool,
    )
)

POOL_POTENTIALS = register(
    Op(
        """
        PoolPotentials <kernel_shape, strides, pads> (x) => (y)
        {
            image = Transpose <perm = [0, 3, 1, 2]> (x)
            pooled = ai.hqc.IntegerMaxPool <kernel_shape: ints = @kernel_shape,
                strides: ints = @strides, pads: ints = @pads> (image)
            y = Transpose <perm = [0, 2, 3, 1]> (pooled)
        }
        """,
        reference=pool_potentials,
        domain=KERNEL,
    )
)
