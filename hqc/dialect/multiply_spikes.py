"""MultiplySpikes and MultiplyPotentials: products of two matrices at every time step.

The first multiplies 32 pairs of spikes by one AND and counts them: its kernel is not plain.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.invariants import expect, expect_shape, expect_within, facts_of
from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.planes import unpack_planes, verify_packed
from hqc.dialect.potentials import pad_channels, take_channels, verify_potentials
from hqc.dialect.work import of_products


def multiply_spikes(a: np.ndarray, b: np.ndarray, *, channels: int, columns: int) -> np.ndarray:
    """a uint32 [T, B, N, Pa, words(channels)], b [T, B, columns, Pb, words(channels)].

    A B^T of each time step and each of the B: int32 [T, B, N, 32 words(columns)].
    """
    left, right = (unpack_planes(x, channels=channels).astype(np.int32) for x in (a, b))
    return pad_channels(left @ right.swapaxes(-1, -2))


def multiply_potentials(a: np.ndarray, b: np.ndarray, *, channels: int, columns: int) -> np.ndarray:
    """a int32 [T, B, N, 32 words(channels)], b spikes uint32 [T, B, columns, P, words(channels)].

    A B^T of each time step and each of the B: int32 [T, B, N, 32 words(columns)].
    """
    left = take_channels(a, channels=channels)
    right = unpack_planes(b, channels=channels).astype(np.int32)
    return pad_channels(left @ right.swapaxes(-1, -2))


def _verify(node: ir.Node) -> None:
    channels, columns = (node.attributes[n].value for n in ("channels", "columns"))
    a, b = (facts_of(v, "spikes", "levels", "potentials") for v in node.inputs)
    shape, other = list(node.inputs[0].shape.numpy()), verify_packed(node.inputs[1], channels)
    check = verify_packed if node.op_type == "MultiplySpikes" else verify_potentials
    check(node.inputs[0], channels)
    expect("the columns", other[:3], [*shape[:2], columns])
    verify_potentials(node.outputs[0], columns)
    expect_shape(node.outputs[0], (*shape[:3], *node.outputs[0].shape.numpy()[3:]))
    ends = [end * b.highest * channels for end in (min(a.lowest, 0), max(a.highest, 0))]
    expect_within(node.outputs[0], *map(np.array, ends))


MULTIPLY_SPIKES = register(
    Op(
        """
        MultiplySpikes <channels, columns> (a, b) => (y)
        {
            a_bytes = ai.hqc.kernel.UnpackPlanes <channels: int = @channels> (a)
            b_bytes = ai.hqc.kernel.UnpackPlanes <channels: int = @channels> (b)
            left = Cast <to = 6> (a_bytes)
            rows = Cast <to = 6> (b_bytes)
            right = Transpose <perm = [0, 1, 3, 2]> (rows)
            product = MatMul(left, right)
            y = ai.hqc.kernel.PadChannels (product)
        }
        """,
        reference=multiply_spikes,
        verify=_verify,
        domain=KERNEL,
        work=of_products,
    )
)

MULTIPLY_POTENTIALS = register(
    Op(
        """
        MultiplyPotentials <channels, columns> (a, b) => (y)
        {
            b_bytes = ai.hqc.kernel.UnpackPlanes <channels: int = @channels> (b)
            left = ai.hqc.kernel.TakeChannels <channels: int = @channels> (a)
            rows = Cast <to = 6> (b_bytes)
            right = Transpose <perm = [0, 1, 3, 2]> (rows)
            product = MatMul(left, right)
            y = ai.hqc.kernel.PadChannels (product)
        }
        """,
        reference=multiply_potentials,
        verify=_verify,
        domain=KERNEL,
        work=of_products,
        plain="a product of potentials and spikes",
    )
)
