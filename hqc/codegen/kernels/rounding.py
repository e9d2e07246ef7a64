"""float32 of an integer times a scale, as bits, by integer arithmetic alone.

Machines without floating-point registers have no instruction for it, and a freestanding library
has no helper to call.
"""

from __future__ import annotations

from tvm import tirx
from tvm.script import tirx as T

_FRACTION = 23
"""Bits of a float32's significand below its highest one."""

_LEAST = -149
"""The exponent of the last bit of the smallest float32."""

_ALL_GONE = 50
"""Places after which nothing is left of a product of two significands, nor of its half."""

_INFINITY = 0x7F800000


def _highest(x):
    """The place of the highest set bit of a uint64, as int32; -1 for 0."""
    zeros = T.call_llvm_pure_intrin("uint64", "llvm.ctlz", x, tirx.const(False, "bool"))
    return T.int32(63) - T.Cast("int32", zeros)


def _left(x, places):
    return T.shift_left(x, T.Cast("uint64", places))


def _right(x, places):
    return T.shift_right(x, T.Cast("uint64", places))


@T.macro
def _rounded(y, x, places):
    """A TIR macro: y[0] = x / 2^places to the nearest uint64, ties to even."""
    whole: T.let = _right(x, places)
    rest: T.let = x - _left(whole, places)
    double: T.let = rest + rest + (whole & T.uint64(1))
    y[0] = whole + T.Cast("uint64", double > _left(T.uint64(1), places))


@T.macro
def scaled(x, scale, m, y, n):
    """A TIR macro: y[n] = bits of float32(x[0]) * scale[m], each rounded to nearest, ties to even.

    x is int64; scale uint32, the bits of finite float32s; y uint32. The integer becomes a
    significand of 24 bits, times 2^dropped; that times the scale's is rounded once more, to 24 bits
    or to what the smallest float32s leave.
    """
    significand = T.alloc_buffer((1,), "uint64")
    bits: T.let = scale[m]
    sign: T.let = T.shift_right(x[0], T.int64(63))
    size: T.let = T.Cast("uint64", T.bitwise_xor(x[0], sign)) + T.Cast("uint64", sign & T.int64(1))
    dropped: T.let = T.max(_highest(size) - _FRACTION, 0)
    _rounded(significand, size, dropped)
    field: T.let = T.Cast("int32", T.shift_right(bits, T.uint32(_FRACTION)) & T.uint32(255))
    hidden: T.let = T.Select(field > 0, T.uint32(1 << _FRACTION), T.uint32(0))
    product: T.let = significand[0] * T.Cast(
        "uint64", (bits & T.uint32((1 << _FRACTION) - 1)) | hidden
    )
    exponent: T.let = dropped + T.max(field, 1) - T.int32(1) + T.int32(_LEAST)
    places: T.let = T.max(_highest(product) - _FRACTION, T.int32(_LEAST) - exponent)
    _rounded(significand, product, T.max(T.min(places, _ALL_GONE), 0))
    digits: T.let = T.Cast("uint32", _left(significand[0], T.max(-places, 0)))
    # Digits of 24 bits carry their highest into the exponent's field.
    raised: T.let = T.min(exponent + places - T.int32(_LEAST), 255)
    finite: T.let = T.shift_left(T.Cast("uint32", raised), T.uint32(_FRACTION)) + digits
    magnitude: T.let = T.Select(
        product == T.uint64(0), T.uint32(0), T.min(finite, T.uint32(_INFINITY))
    )
    negative: T.let = T.shift_left(T.Cast("uint32", sign & T.int64(1)), T.uint32(31))
    y[n] = magnitude | T.bitwise_xor(negative, bits & T.uint32(1 << 31))
