"""OrPool: max-pooling of spikes, which is an OR."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from hqc.dialect.invariants import InvariantError, expect_shape, expect_within, facts_of
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


def verify_window(node: ir.Node, size: Sequence[int]) -> tuple[int, int]:
    """A pooling window that is never padding alone. Returns the size of its output."""
    kernel, strides, pads = (node.attributes[n].value for n in ("kernel_shape", "strides", "pads"))
    if any(p >= k for p, k in zip(pads, [*kernel, *kernel], strict=True)):
        raise InvariantError(f"a window of {list(kernel)} is padded by {list(pads)}")
    height, width = (
        (n + pads[i] + pads[i + 2] - kernel[i]) // strides[i] + 1 for i, n in enumerate(size)
    )
    return height, width


def _verify(node: ir.Node) -> None:
    x = facts_of(node.inputs[0], "spikes")
    facts_of(node.outputs[0], "spikes")
    *outer, height, width = node.inputs[0].shape.numpy()
    expect_shape(node.outputs[0], (*outer, *verify_window(node, (height, width))))
    expect_within(node.outputs[0], np.array(x.low), np.array(x.high))


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
        verify=_verify,
    )
)
