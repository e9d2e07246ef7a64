"""DenseConv: convolution of an unpacked 8-bit image, integer neurons, packed spikes."""

from __future__ import annotations

import numpy as np

from hqc.dialect.fixed_point_lif import FORWARD, SIGNATURE, fixed_point_lif
from hqc.dialect.layer_invariants import ends_in_neurons, frames_layer
from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.planes import pack_planes
from hqc.dialect.work import of_windows


def conv_integer(
    x: np.ndarray, weights: np.ndarray, strides: list[int], pads: list[int]
) -> np.ndarray:
    """x [B, C, H, W], weights [O, C, kh, kw], pads as ONNX has them -> int32 [B, O, H', W']."""
    padded = np.pad(x.astype(np.int32), ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weights.shape[2:], axis=(2, 3))
    windows = windows[:, :, :: strides[0], :: strides[1]]
    sums = np.einsum("bchwij,ocij->bohw", windows, weights.astype(np.int32), optimize=True)
    return sums.astype(np.int32)


def dense_conv(
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
    kernel: str = "sparse",
    lanes: int = 1,
    dot_bits: int = 0,
    **lif: int,
) -> np.ndarray:
    """x bytes [T, C, H, W], weights int8 [O, C, kh, kw] -> spikes [T, H', W', 1, words(O)].

    `kernel` says whether inputs that are 0 are skipped ("sparse") or not ("dense"), `lanes` how
    many neurons are computed side by side in a word, `dot_bits` of how many bits vectors are whose
    bytes are multiplied, 0 for none.
    """
    accumulator = conv_integer(x, weights, strides, pads).transpose(0, 2, 3, 1)
    return pack_planes(fixed_point_lif(accumulator, bias, threshold, reset, **lif), planes=1)


DENSE_CONV = register(
    Op(
        f"""
        DenseConv <strides, pads, weight_bits, weight_scheme, kernel: string = "sparse",
                   lanes: int = 1, dot_bits: int = 0, {SIGNATURE}>
            (x, weights, bias, threshold, reset) => (y)
        {{
            sums = ConvInteger <strides: ints = @strides, pads: ints = @pads> (x, weights)
            accumulator = Transpose <perm = [0, 2, 3, 1]> (sums)
            spikes = ai.hqc.FixedPointLIF <{FORWARD}> (accumulator, bias, threshold, reset)
            y = ai.hqc.kernel.PackPlanes <planes = 1> (spikes)
        }}
        """,
        reference=dense_conv,
        verify=lambda node: ends_in_neurons(node, frames_layer(node)),
        domain=KERNEL,
        work=of_windows,
    )
)
