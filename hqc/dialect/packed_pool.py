"""PackedPool: max-pooling of packed spikes, an OR of words."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.invariants import expect, expect_shape, facts_of
from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.or_pool import or_pool, verify_window
from hqc.dialect.planes import pack_planes, unpack_planes, verify_packed


def packed_pool(x: np.ndarray, *, channels: int, **window: list[int]) -> np.ndarray:
    """OR of each window: x uint32 [T, H, W, 1, words] -> [T, H', W', 1, words]."""
    image = unpack_planes(x, channels=channels).transpose(0, 3, 1, 2)
    return pack_planes(or_pool(image, **window).transpose(0, 2, 3, 1), planes=1)


def _verify(node: ir.Node) -> None:
    for value in (node.inputs[0], node.outputs[0]):
        facts_of(value, "spikes")
    shape = verify_packed(node.inputs[0], node.attributes["channels"].value)
    expect("the planes of its input", shape[3], 1)
    shape[1:3] = verify_window(node, shape[1:3])
    expect_shape(node.outputs[0], shape)


PACKED_POOL = register(
    Op(
        """
        PackedPool <channels, kernel_shape, strides, pads> (x) => (y)
        {
            rows = ai.hqc.kernel.UnpackPlanes <channels: int = @channels> (x)
            image = Transpose <perm = [0, 3, 1, 2]> (rows)
            pooled = ai.hqc.OrPool <kernel_shape: ints = @kernel_shape, strides: ints = @strides,
                                    pads: ints = @pads> (image)
            pooled_rows = Transpose <perm = [0, 2, 3, 1]> (pooled)
            y = ai.hqc.kernel.PackPlanes <planes = 1> (pooled_rows)
        }
        """,
        reference=packed_pool,
        verify=_verify,
        domain=KERNEL,
    )
)
