"""Convolutions whose sums become potentials: of packed spikes, of frames, of potentials.

Each is an exact integer convolution, then `Rescale` by channel; what differs is how the input is
laid out. `weight_bits` and `weight_scheme` say how codes are stored, `kernel` how they are added.
"""

from __future__ import annotations

import numpy as np

from hqc.dialect.integer_conv import integer_conv, integer_depthwise_conv
from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.planes import unpack_planes
from hqc.dialect.potentials import pad_channels, take_channels
from hqc.dialect.rescale import LARGEST, rescale


def spike_conv_potentials(
    x: np.ndarray,
    weights: np.ndarray,
    multiplier: np.ndarray,
    bias: np.ndarray,
    *,
    channels: int,
    strides: list[int],
    pads: list[int],
    shift: int,
    limit: int = LARGEST,
    weight_bits: int,
    weight_scheme: str,
    kernel: str = "event",
) -> np.ndarray:
    """x uint32 [T, H, W, P, words(C)], weights [O, C, kh, kw] -> potentials [T, H', W', O]."""
    image = unpack_planes(x, channels=channels).transpose(0, 3, 1, 2)
    sums = integer_conv(image, weights, strides=strides, pads=pads).transpose(0, 2, 3, 1)
    return pad_channels(rescale(sums, multiplier, bias, shift=shift, limit=limit))


def frame_conv_potentials(
    x: np.ndarray,
    weights: np.ndarray,
    multiplier: np.ndarray,
    bias: np.ndarray,
    *,
    strides: list[int],
    pads: list[int],
    shift: int,
    limit: int = LARGEST,
    weight_bits: int,
    weight_scheme: str,
) -> np.ndarray:
    """x uint8 [T, C, H, W], weights [O, C, kh, kw] -> potentials [T, H', W', O]."""
    sums = integer_conv(x, weights, strides=strides, pads=pads).transpose(0, 2, 3, 1)
    return pad_channels(rescale(sums, multiplier, bias, shift=shift, limit=limit))


def potential_conv(
    x: np.ndarray,
    weights: np.ndarray,
    multiplier: np.ndarray,
    bias: np.ndarray,
    *,
    channels: int,
    strides: list[int],
    pads: list[int],
    shift: int,
    limit: int = LARGEST,
    weight_bits: int,
    weight_scheme: str,
    wide: int = 0,
) -> np.ndarray:
    """Potentials [T, H, W, C], weights [O, C, kh, kw] -> potentials [T, H', W', O].

    Sums fit in 32 bits unless `wide`.
    """
    image = take_channels(x, channels=channels).transpose(0, 3, 1, 2)
    sums = integer_conv(image, weights, strides=strides, pads=pads).transpose(0, 2, 3, 1)
    return pad_channels(rescale(sums, multiplier, bias, shift=shift, limit=limit))


def depthwise_conv(
    x: np.ndarray,
    weights: np.ndarray,
    multiplier: np.ndarray,
    bias: np.ndarray,
    *,
    channels: int,
    strides: list[int],
    pads: list[int],
    shift: int,
    limit: int = LARGEST,
    weight_bits: int,
    weight_scheme: str,
    wide: int = 0,
) -> np.ndarray:
    """Potentials [T, H, W, C], weights [C, 1, kh, kw] -> potentials [T, H', W', C].

    Sums fit in 32 bits unless `wide`.
    """
    image = take_channels(x, channels=channels).transpose(0, 3, 1, 2)
    sums = integer_depthwise_conv(image, weights, strides=strides, pads=pads)
    return pad_channels(
        rescale(sums.transpose(0, 2, 3, 1), multiplier, bias, shift=shift, limit=limit)
    )


_TAKE = "rows = ai.hqc.kernel.TakeChannels <channels: int = @channels> (x)"
_UNPACK = "rows = ai.hqc.kernel.UnpackPlanes <channels: int = @channels> (x)"
_STORED = f"strides, pads, shift, limit: int = {LARGEST}, weight_bits, weight_scheme"


def _text(signature: str, image: str, conv: str = "IntegerConv") -> str:
    return f"""
        {signature} (x, weights, multiplier, bias) => (y)
        {{
            {image}
            sums = ai.hqc.{conv} <strides: ints = @strides, pads: ints = @pads> (image, weights)
            accumulator = Transpose <perm = [0, 2, 3, 1]> (sums)
            potentials = ai.hqc.Rescale <shift: int = @shift, limit: int = @limit>
                (accumulator, multiplier, bias)
            y = ai.hqc.kernel.PadChannels (potentials)
        }}
        """


_TURN = "image = Transpose <perm = [0, 3, 1, 2]> (rows)"

SPIKE_CONV_POTENTIALS = register(
    Op(
        _text(
            f'SpikeConvPotentials <channels, {_STORED}, kernel: string = "event">',
            f"{_UNPACK} {_TURN}",
        ),
        reference=spike_conv_potentials,
        domain=KERNEL,
    )
)
FRAME_CONV_POTENTIALS = register(
    Op(
        _text(f"FrameConvPotentials <{_STORED}>", "image = Identity(x)"),
        reference=frame_conv_potentials,
        domain=KERNEL,
    )
)
POTENTIAL_CONV = register(
    Op(
        _text(f"PotentialConv <channels, {_STORED}, wide: int = 0>", f"{_TAKE} {_TURN}"),
        reference=potential_conv,
        domain=KERNEL,
    )
)
DEPTHWISE_CONV = register(
    Op(
        _text(
            f"DepthwiseConv <channels, {_STORED}, wide: int = 0>",
            f"{_TAKE} {_TURN}",
            "IntegerDepthwiseConv",
        ),
        reference=depthwise_conv,
        domain=KERNEL,
    )
)
