"""OrPool: max-pooling of spikes, which is an OR."""

from __future__ import annotations

import numpy as np

from hqc.dialect.op import Op, register


def or_pool(
    x: np.ndarray, *, kernel_shape: list[int], strides: list[int], pads: list[int]
) -> np.ndarray:
    """OR of each window: x uint8 {0, 1} [B, C, H, W] -> the same of the pooled size.

    `pads` as ONNX has them: top, left, bottom, right; padding counts as no spike.
    """
    padded = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel_shape, axis=(2, 3))
    return windows[:, :, :: strides[0], :: strides[1]].max(axis=(4, 5))


OR_POOL = register(
    Op(
        """
        OrPool <kernel_shape, strides, pads> (x) => (y)
        {
            y = MaxPool <kernel_shape: ints = @kernel_shape, strides: ints = @strides,
                         pads: ints = @pads> (x)
        }
        """,
        reference=or_pool,
    )
)
