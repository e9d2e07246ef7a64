"""PadChannels and TakeChannels: membrane potentials in fixed point, as kernels lay them out.

Potentials are int32 [T, H, W, 32 * words(C)], channels last; spare channels are 0.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.invariants import expect
from hqc.dialect.op import KERNEL, Op, register


def pad_channels(x: np.ndarray) -> np.ndarray:
    """x int32 [..., C] -> [..., 32 * words(C)], zeros added."""
    return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, -x.shape[-1] % 32)])


def take_channels(x: np.ndarray, *, channels: int) -> np.ndarray:
    """The first `channels` of the last axis."""
    return x[..., :channels]


def verify_potentials(value: ir.Value, channels: int) -> None:
    """Potentials int32 [T, H, W, 32 words(C)] of that many channels."""
    shape = list(value.shape.numpy())
    expect(f"the rank of {value.name!r}", len(shape), 4)
    expect(f"the columns of {value.name!r}", shape[3], -(-channels // 32) * 32)
    expect(f"the type of {value.name!r}", value.dtype, ir.DataType.INT32)


PAD_CHANNELS = register(
    Op(
        """
        PadChannels (x) => (y)
        {
            word = Constant <value_ints = [32]> ()
            last = Constant <value_ints = [-1]> ()
            none = Constant <value_ints = [0]> ()
            channels = Shape <start = -1> (x)
            less = Neg(channels)
            spare = Mod(less, word)
            amounts = Concat <axis = 0> (none, spare)
            y = Pad(x, amounts, , last)
        }
        """,
        reference=pad_channels,
        domain=KERNEL,
    )
)

TAKE_CHANNELS = register(
    Op(
        """
        TakeChannels <channels> (x) => (y)
        {
            first = Constant <value_ints = [0]> ()
            last = Constant <value_ints = [-1]> ()
            channels_int = Constant <value_int: int = @channels> ()
            end = Reshape(channels_int, last)
            y = Slice(x, first, end, last)
        }
        """,
        reference=take_channels,
        domain=KERNEL,
    )
)
