"""Convolutions whose sums become potentials: of packed spikes, of frames, of potentials.

Each is an exact integer convolution, then `Rescale` by channel; what differs is how the input is
laid out. `weight_bits` and `weight_scheme` say how codes are stored, `kernel` how they are added,
`listing` by what spikes are listed with vectors, `complement` whether what does not fire is listed
where that is less; `wide` asks for sums of 64 bits. With `dot_bits`, products of four bytes are
added by an instruction on vectors of so many bits, and `input_bytes` hold every potential.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from hqc.dialect.integer_conv import integer_conv, integer_depthwise_conv
from hqc.dialect.intervals import RangeError
from hqc.dialect.invariants import facts_of
from hqc.dialect.layer_invariants import (
    ends_in_potentials,
    frames_layer,
    potentials_layer,
    spikes_layer,
)
from hqc.dialect.op import KERNEL, Op, find_op, register
from hqc.dialect.planes import unpack_planes
from hqc.dialect.potentials import pad_channels, take_channels
from hqc.dialect.rescale import rescale
from hqc.dialect.work import of_windows


def _reference(
    about: str,
    image: Callable[[np.ndarray, int], np.ndarray],
    conv: Callable[..., np.ndarray] = integer_conv,
) -> Callable[..., np.ndarray]:
    """The reference of an op whose input becomes an image [T, C, H, W] by `image(x, channels)`."""

    def potentials(
        x: np.ndarray,
        weights: np.ndarray,
        multiplier: np.ndarray,
        bias: np.ndarray,
        *,
        strides: list[int],
        pads: list[int],
        shift: int,
        channels: int = 0,
        **_storage: object,
    ) -> np.ndarray:
        sums = conv(image(x, channels), weights, strides=strides, pads=pads).transpose(0, 2, 3, 1)
        return pad_channels(rescale(sums, multiplier, bias, shift=shift))

    potentials.__doc__ = about
    return potentials


def _of_spikes(x: np.ndarray, channels: int) -> np.ndarray:
    return unpack_planes(x, channels=channels).transpose(0, 3, 1, 2)


def _of_potentials(x: np.ndarray, channels: int) -> np.ndarray:
    return take_channels(x, channels=channels).transpose(0, 3, 1, 2)


_TAKE = "rows = ai.hqc.kernel.TakeChannels <channels: int = @channels> (x)"
_UNPACK = "rows = ai.hqc.kernel.UnpackPlanes <channels: int = @channels> (x)"
_STORED = "strides, pads, shift, weight_bits, weight_scheme, wide: int = 0"


def _text(signature: str, image: str, conv: str = "IntegerConv") -> str:
    return f"""
        {signature} (x, weights, multiplier, bias) => (y)
        {{
            {image}
            sums = ai.hqc.{conv} <strides: ints = @strides, pads: ints = @pads> (image, weights)
            accumulator = Transpose <perm = [0, 2, 3, 1]> (sums)
            potentials = ai.hqc.Rescale <shift: int = @shift> (accumulator, multiplier, bias)
            y = ai.hqc.kernel.PadChannels (potentials)
        }}
        """


def _verify_potential_conv(node: ir.Node) -> None:
    ends_in_potentials(node, potentials_layer(node))
    bits = 8 * find_op(node).attributes(node)["input_bytes"] - 1
    facts = facts_of(node.inputs[0])
    reach = max(-facts.lowest - 1, facts.highest)
    if reach >= 1 << bits:
        raise RangeError(f"its input does not fit {bits + 1} bits", reach / 2**bits)


_TURN = "image = Transpose <perm = [0, 3, 1, 2]> (rows)"

SPIKE_CONV_POTENTIALS = register(
    Op(
        _text(
            f'SpikeConvPotentials <channels, {_STORED}, kernel: string = "event", '
            'listing: string = "table", complement: int = 0>',
            f"{_UNPACK} {_TURN}",
        ),
        reference=_reference(
            "x uint32 [T, H, W, P, words(C)], weights [O, C, kh, kw] -> potentials [T, H', W', O].",
            _of_spikes,
        ),
        verify=lambda node: ends_in_potentials(node, spikes_layer(node)),
        domain=KERNEL,
        work=of_windows,
    )
)
FRAME_CONV_POTENTIALS = register(
    Op(
        _text(
            f'FrameConvPotentials <{_STORED}, kernel: string = "sparse", dot_bits: int = 0>',
            "image = Identity(x)",
        ),
        reference=_reference(
            "x bytes [T, C, H, W], weights [O, C, kh, kw] -> potentials [T, H', W', O].",
            lambda x, _channels: x,
        ),
        verify=lambda node: ends_in_potentials(node, frames_layer(node)),
        domain=KERNEL,
        work=of_windows,
    )
)
POTENTIAL_CONV = register(
    Op(
        _text(
            f"PotentialConv <channels, {_STORED}, dot_bits: int = 0, input_bytes: int = 4>",
            f"{_TAKE} {_TURN}",
        ),
        reference=_reference(
            "Potentials [T, H, W, C], weights [O, C, kh, kw] -> [T, H', W', O].",
            _of_potentials,
        ),
        verify=_verify_potential_conv,
        domain=KERNEL,
        work=of_windows,
    )
)
DEPTHWISE_CONV = register(
    Op(
        _text(
            f"DepthwiseConv <channels, {_STORED}>",
            f"{_TAKE} {_TURN}",
            "IntegerDepthwiseConv",
        ),
        reference=_reference(
            "Potentials [T, H, W, C], weights [C, 1, kh, kw] -> [T, H', W', C].",
            _of_potentials,
            integer_depthwise_conv,
        ),
        verify=lambda node: ends_in_potentials(node, potentials_layer(node)),
        domain=KERNEL,
        work=of_windows,
    )
)
