"""AddPlanes: the sum of two packed tensors of small integers, a residual connection."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.invariants import expect, expect_within, facts_of
from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.planes import pack_planes, unpack_planes, verify_packed


def add_planes(a: np.ndarray, b: np.ndarray, *, channels: int, planes: int) -> np.ndarray:
    """a + b channel by channel: uint32 [..., Pa, words] + [..., Pb, words] -> [..., planes, words].

    `planes` must hold every sum.
    """
    sums = unpack_planes(a, channels=channels) + unpack_planes(b, channels=channels)
    return pack_planes(sums, planes=planes)


def _verify(node: ir.Node) -> None:
    a, b = (facts_of(v, "spikes", "levels") for v in node.inputs)
    channels, planes = (node.attributes[n].value for n in ("channels", "planes"))
    shapes = [verify_packed(v, channels) for v in (*node.inputs, node.outputs[0])]
    expect("the planes of its output", shapes[2].pop(3), planes)
    for shape in shapes[:2]:
        del shape[3]
        expect("the shape of an input", shape, shapes[2])
    expect_within(node.outputs[0], np.array(a.lowest + b.lowest), np.array(a.highest + b.highest))


ADD_PLANES = register(
    Op(
        """
        AddPlanes <channels, planes> (a, b) => (y)
        {
            a_rows = ai.hqc.kernel.UnpackPlanes <channels: int = @channels> (a)
            b_rows = ai.hqc.kernel.UnpackPlanes <channels: int = @channels> (b)
            sums = Add(a_rows, b_rows)
            y = ai.hqc.kernel.PackPlanes <planes: int = @planes> (sums)
        }
        """,
        reference=add_planes,
        verify=_verify,
        domain=KERNEL,
    )
)
