"""PotentialLevels: integer neurons of several levels on potentials, packed in bit planes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.fixed_point_integer_lif import (
    FORWARD,
    SIGNATURE,
    fixed_point_integer_lif,
    verify_levels,
)
from hqc.dialect.invariants import expect
from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.planes import pack_planes, verify_packed
from hqc.dialect.potentials import take_channels, verify_potentials


def potential_levels(
    x: np.ndarray,
    thresholds: np.ndarray,
    drop: np.ndarray,
    *,
    channels: int,
    planes: int,
    **leak: int,
) -> np.ndarray:
    """Potentials int32 [T, H, W, C] -> levels uint32 [T, H, W, planes, words(C)]."""
    potentials = take_channels(x, channels=channels)
    return pack_planes(fixed_point_integer_lif(potentials, thresholds, drop, **leak), planes=planes)


def _verify(node: ir.Node) -> None:
    channels, planes = (node.attributes[n].value for n in ("channels", "planes"))
    shape = verify_packed(node.outputs[0], channels)
    verify_potentials(node.inputs[0], channels)
    expect("time steps and positions", shape[:3], list(node.inputs[0].shape.numpy()[:3]))
    expect("the planes", shape[3], planes)
    verify_levels(node, node.inputs[1:], shape[0])


POTENTIAL_LEVELS = register(
    Op(
        f"""
        PotentialLevels <channels, planes, {SIGNATURE}> (x, thresholds, drop) => (y)
        {{
            potentials = ai.hqc.kernel.TakeChannels <channels: int = @channels> (x)
            levels = ai.hqc.FixedPointIntegerLIF <{FORWARD}> (potentials, thresholds, drop)
            y = ai.hqc.kernel.PackPlanes <planes: int = @planes> (levels)
        }}
        """,
        reference=potential_levels,
        verify=_verify,
        domain=KERNEL,
    )
)
