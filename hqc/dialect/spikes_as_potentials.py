"""SpikesAsPotentials: packed small integers, unpacked."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.invariants import expect, expect_within, facts_of
from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.planes import unpack_planes, verify_packed
from hqc.dialect.potentials import pad_channels, verify_potentials


def spikes_as_potentials(x: np.ndarray, *, channels: int) -> np.ndarray:
    """x uint32 [T, H, W, P, words(C)] -> int32 [T, H, W, 32 words(C)]."""
    return pad_channels(unpack_planes(x, channels=channels).astype(np.int32))


def _verify(node: ir.Node) -> None:
    x = facts_of(node.inputs[0], "spikes", "levels")
    channels = node.attributes["channels"].value
    shape = verify_packed(node.inputs[0], channels)
    verify_potentials(node.outputs[0], channels)
    expect("time steps and positions", shape[:3], list(node.outputs[0].shape.numpy()[:3]))
    expect_within(node.outputs[0], np.array(x.low), np.array(x.high))


SPIKES_AS_POTENTIALS = register(
    Op(
        """
        SpikesAsPotentials <channels> (x) => (y)
        {
            rows = ai.hqc.kernel.UnpackPlanes <channels: int = @channels> (x)
            wide = Cast <to = 6> (rows)
            y = ai.hqc.kernel.PadChannels (wide)
        }
        """,
        reference=spikes_as_potentials,
        verify=_verify,
        domain=KERNEL,
    )
)
