"""Loops over accumulators, as vectors that LLVM keeps in registers."""

from __future__ import annotations

from tvm.script import tirx as T


def vector_width(elements: int) -> int:
    """The largest power of two that divides `elements`: LLVM takes other vectors apart by lane."""
    return elements & -elements


def overlapping_width(elements: int, most: int = 32) -> int:
    """Lanes of vectors that make up `elements`: those that fill them, or where these are few, wider
    ones, of which the last overlaps the one before."""
    exact = vector_width(elements)
    return exact if 2 * exact > min(most, elements) else min(most, 1 << elements.bit_length() - 1)


def clear(elements: int, dtype: str, vector: bool):
    """A TIR macro: acc[: elements] = 0."""
    width, each = vector_width(elements), T.vectorized if vector else T.serial

    @T.macro
    def body(acc):
        for i in T.unroll(elements // width):
            for v in each(width):
                acc[i * width + v] = T.Cast(dtype, 0)

    return body


def add(elements: int, dtype: str, vector: bool):
    """A TIR macro: acc[a : a + elements] += values[b : b + elements] << shift, in `dtype`."""
    width, each = vector_width(elements), T.vectorized if vector else T.serial

    @T.macro
    def body(acc, a, values, b, shift):
        for i in T.unroll(elements // width):
            for v in each(width):
                acc[a + i * width + v] = acc[a + i * width + v] + T.shift_left(
                    T.Cast(dtype, values[b + i * width + v]), T.Cast(dtype, shift)
                )

    return body


def add_product(elements: int, dtype: str, vector: bool):
    """A TIR macro: acc[: elements] += factor * values[b : b + elements], in `dtype`."""
    width, each = vector_width(elements), T.vectorized if vector else T.serial

    @T.macro
    def body(acc, values, b, factor):
        for i in T.unroll(elements // width):
            for v in each(width):
                acc[i * width + v] = acc[i * width + v] + T.Cast(dtype, factor) * T.Cast(
                    dtype, values[b + i * width + v]
                )

    return body
