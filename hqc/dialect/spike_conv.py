"""SpikeConv: convolution of packed small integers, integer neurons, packed spikes."""

from __future__ import annotations

import numpy as np

from hqc.dialect.dense_conv import conv_integer
from hqc.dialect.fixed_point_lif import FORWARD, SIGNATURE, fixed_point_lif
from hqc.dialect.layer_invariants import ends_in_neurons, spikes_layer
from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.planes import pack_planes, unpack_planes
from hqc.dialect.work import of_windows


def spike_conv(
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray,
    threshold: np.ndarray,
    reset: np.ndarray,
    *,
    strides: list[int],
    pads: list[int],
    weight_bits: int,
    weight_scheme: str,
    kernel: str = "event",
    listing: str = "table",
    complement: int = 0,
    lanes: int = 1,
    dot_bits: int = 0,
    **lif: int,
) -> np.ndarray:
    """x uint32 [T, H, W, P, words(C)], weights int8 [O, C, kh, kw] -> [T, H', W', 1, words(O)].

    A linear layer is a 1x1 convolution over tokens. `weight_bits` and `weight_scheme` ("uniform" or
    "pow2") say how the codes are stored, `kernel` how they are added, `listing` by what spikes are
    listed with vectors, `complement` whether what does not fire is listed where that is less,
    `lanes` how many neurons are computed side by side in a word, `dot_bits` of how many bits those
    vectors are whose bytes are multiplied; none changes the result.
    """
    image = unpack_planes(x, channels=weights.shape[1]).transpose(0, 3, 1, 2)
    accumulator = conv_integer(image, weights, strides, pads).transpose(0, 2, 3, 1)
    return pack_planes(fixed_point_lif(accumulator, bias, threshold, reset, **lif), planes=1)


SPIKE_CONV = register(
    Op(
        f"""
        SpikeConv <channels, strides, pads, weight_bits, weight_scheme, kernel: string = "event",
                   listing: string = "table", complement: int = 0, lanes: int = 1,
                   dot_bits: int = 0, {SIGNATURE}>
            (x, weights, bias, threshold, reset) => (y)
        {{
            rows = ai.hqc.kernel.UnpackPlanes <channels: int = @channels> (x)
            image = Transpose <perm = [0, 3, 1, 2]> (rows)
            sums = ConvInteger <strides: ints = @strides, pads: ints = @pads> (image, weights)
            accumulator = Transpose <perm = [0, 2, 3, 1]> (sums)
            spikes = ai.hqc.FixedPointLIF <{FORWARD}> (accumulator, bias, threshold, reset)
            y = ai.hqc.kernel.PackPlanes <planes = 1> (spikes)
        }}
        """,
        reference=lambda *inputs, channels, **attributes: spike_conv(*inputs, **attributes),
        verify=lambda node: ends_in_neurons(node, spikes_layer(node)),
        domain=KERNEL,
        work=of_windows,
    )
)
