"""IntegerMaxPool and PoolPotentials: the largest potential of a window."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.invariants import expect_shape, expect_within, facts_of
from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.or_pool import verify_window

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


def _verify(node: ir.Node) -> None:
    x = facts_of(node.inputs[0], "potentials")
    shape = list(node.inputs[0].shape.numpy())
    image = slice(2, 4) if node.op_type == "IntegerMaxPool" else slice(1, 3)
    shape[image] = verify_window(node, shape[image])
    expect_shape(node.outputs[0], shape)
    expect_within(node.outputs[0], np.array(x.low), np.array(x.high))


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
        verify=_verify,
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
        verify=_verify,
        domain=KERNEL,
    )
)
