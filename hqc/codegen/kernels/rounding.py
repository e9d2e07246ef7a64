"""float32 of a 64-bit integer, rounded once, without the compiler's helper functions.

Machines without 64-bit registers have no instruction for it, and a freestanding library has no
helper to call.
"""

from __future__ import annotations

from tvm import tirx
from tvm.script import tirx as T

_KEPT = 31
"""Bits of a positive int32: a float32's 24, one that decides, and the rest for what lies below."""

_FLOAT_BIAS, _FLOAT_FRACTION = 127, 23


def leading_zeros(x):
    """Zero bits above the highest set bit of a uint64, as int32; 64 for 0."""
    count = T.call_llvm_pure_intrin("uint64", "llvm.ctlz", x, tirx.const(False, "bool"))
    return T.Cast("int32", count)


@T.macro
def to_float32(x, y, n):
    """A TIR macro: y[n] = float32 of the int64 x[0], to nearest, ties to even.

    The magnitude's highest bits become an int32 whose lowest bit is set where any bit below was:
    that decides ties as all bits would. It converts with one rounding, and 2^dropped restores it.
    """
    sign: T.let = T.shift_right(x[0], T.int64(63))
    size: T.let = T.Cast("uint64", T.bitwise_xor(x[0], sign)) + T.Cast("uint64", sign & T.int64(1))
    dropped: T.let = T.max(64 - _KEPT - leading_zeros(size), 0)
    kept: T.let = T.shift_right(size, T.Cast("uint64", dropped))
    below: T.let = T.Cast("int32", T.shift_left(kept, T.Cast("uint64", dropped)) != size)
    rounded: T.let = T.Cast("float32", T.Cast("int32", kept) | below)
    unit: T.let = T.reinterpret(
        "float32", T.shift_left(T.int32(_FLOAT_BIAS) + dropped, T.int32(_FLOAT_FRACTION))
    )
    y[n] = T.Select(sign < T.int64(0), T.float32(0) - rounded, rounded) * unit
