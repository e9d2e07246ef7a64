"""PackPlanes and UnpackPlanes: small integers as bit planes of 32-bit words along channels.

A packed tensor is uint32 [..., P, ceil(C / 32)]: bit c % 32 of word c // 32 of plane p is bit p of
channel c. Spikes need one plane.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.invariants import expect
from hqc.dialect.layouts import WORD
from hqc.dialect.op import KERNEL, Op, register


def words(channels: int) -> int:
    """32-bit words that hold one bit of each channel."""
    return -(-channels // WORD)


def pack_planes(x: np.ndarray, *, planes: int) -> np.ndarray:
    """x uint8 [..., C], values below 2^planes -> uint32 [..., planes, words(C)], spare bits 0."""
    bits = (x[..., None, :] >> np.arange(planes, dtype=np.uint8)[:, None]) & 1
    spare = [(0, 0)] * (bits.ndim - 1) + [(0, -bits.shape[-1] % 32)]
    octets = np.packbits(np.pad(bits, spare), axis=-1, bitorder="little")
    return np.ascontiguousarray(octets).view("<u4")


def unpack_planes(x: np.ndarray, *, channels: int) -> np.ndarray:
    """The inverse of `pack_planes`: uint32 [..., P, W] -> uint8 [..., channels]."""
    octets = np.ascontiguousarray(x, dtype="<u4").view(np.uint8)
    bits = np.unpackbits(octets, axis=-1, bitorder="little")[..., :channels]
    return (bits << np.arange(x.shape[-2], dtype=np.uint8)[:, None]).sum(-2, dtype=np.uint8)


def verify_packed(value: ir.Value, channels: int) -> list[int]:
    """A packed tensor [T, H, W, planes, words] of that many channels. Returns its shape."""
    shape = list(value.shape.numpy())
    expect(f"the rank of {value.name!r}", len(shape), 5)
    expect(f"the words of {value.name!r}", shape[4], words(channels))
    expect(f"the type of {value.name!r}", value.dtype, ir.DataType.UINT32)
    return shape


PACK_PLANES = register(
    Op(
        """
        PackPlanes <planes> (x) => (y)
        {
            zero = Constant <value_int = 0> ()
            one = Constant <value_int = 1> ()
            minus_one = Constant <value_ints = [-1]> ()
            minus_two = Constant <value_ints = [-2]> ()
            word = Constant <value_ints = [32]> ()
            count = Constant <value_int: int = @planes> ()
            plane_index = Range(zero, count, one)
            plane_column = Unsqueeze(plane_index, minus_one)
            shift = Cast <to = 12> (plane_column)
            wide = Cast <to = 12> (x)
            row = Unsqueeze(wide, minus_two)
            shifted = BitShift <direction = "RIGHT"> (row, shift)
            bit = Constant <value = uint32[1] {1}> ()
            bits = BitwiseAnd(shifted, bit)
            bits_int = Cast <to = 7> (bits)

            channels = Shape <start = -1> (x)
            less = Neg(channels)
            spare = Mod(less, word)
            zero_dim = Constant <value_ints = [0]> ()
            amounts = Concat <axis = 0> (zero_dim, spare)
            padded = Pad(bits_int, amounts, , minus_one)
            outer = Shape <end = -1> (padded)
            split = Concat <axis = 0> (outer, minus_one, word)
            grouped = Reshape(padded, split)
            thirty_two = Constant <value_int = 32> ()
            bit_index = Range(zero, thirty_two, one)
            two = Constant <value_int = 2> ()
            weight = Pow(two, bit_index)
            weighted = Mul(grouped, weight)
            sum = ReduceSum <keepdims = 0> (weighted, minus_one)
            y = Cast <to = 12> (sum)
        }
        """,
        reference=pack_planes,
        domain=KERNEL,
        check=lambda a: None if 1 <= a["planes"] <= 8 else f"planes is {a['planes']}, not 1 to 8",
    )
)

UNPACK_PLANES = register(
    Op(
        """
        UnpackPlanes <channels> (x) => (y)
        {
            zero = Constant <value_int = 0> ()
            one = Constant <value_int = 1> ()
            zero_dim = Constant <value_ints = [0]> ()
            minus_one = Constant <value_ints = [-1]> ()
            minus_two = Constant <value_ints = [-2]> ()
            thirty_two = Constant <value_int = 32> ()
            bit_index = Range(zero, thirty_two, one)
            shift = Cast <to = 12> (bit_index)
            column = Unsqueeze(x, minus_one)
            shifted = BitShift <direction = "RIGHT"> (column, shift)
            bit = Constant <value = uint32[1] {1}> ()
            bits = BitwiseAnd(shifted, bit)
            bits_int = Cast <to = 7> (bits)
            outer = Shape <end = -2> (bits)
            flat = Concat <axis = 0> (outer, minus_one)
            row = Reshape(bits_int, flat)
            channels_int = Constant <value_int: int = @channels> ()
            channels = Reshape(channels_int, minus_one)
            used = Slice(row, zero_dim, channels, minus_one)

            plane_count = Shape <start = -2, end = -1> (used)
            plane_scalar = Squeeze(plane_count)
            plane_index = Range(zero, plane_scalar, one)
            two = Constant <value_int = 2> ()
            weight = Pow(two, plane_index)
            weight_column = Unsqueeze(weight, minus_one)
            weighted = Mul(used, weight_column)
            sum = ReduceSum <keepdims = 0> (weighted, minus_two)
            y = Cast <to = 2> (sum)
        }
        """,
        reference=unpack_planes,
        domain=KERNEL,
    )
)
