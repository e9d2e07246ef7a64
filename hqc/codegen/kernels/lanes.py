"""Loops over accumulators, as vectors that LLVM keeps in registers."""

from __future__ import annotations

from collections.abc import Callable

from tvm.script import tirx as T

_WIDEST, _NARROWEST = 64, 32
"""Lanes of the vectors of an accumulator where they are not all as wide as each other. Narrower
ones would not lie within those by which others read it, and it would not stay in registers."""


def vector_width(elements: int) -> int:
    """The largest power of two that divides `elements`: LLVM takes other vectors apart by lane."""
    return elements & -elements


def overlapping_width(elements: int, most: int = 32) -> int:
    """Lanes of vectors that make up `elements`: those that fill them, or where these are few, wider
    ones, of which the last overlaps the one before."""
    exact = vector_width(elements)
    return exact if 2 * exact > min(most, elements) else min(most, 1 << elements.bit_length() - 1)


def in_vectors(elements: int, body: Callable):
    """A TIR macro: `body(width)`, a TIR macro of the first lane and more, for the vectors that
    make up `elements`: 96 are one of 64 and one of 32, 48 are three of 16."""
    width = vector_width(elements)
    if _NARROWEST <= width < _WIDEST <= elements:
        width = _WIDEST
    count, left = divmod(elements, width)
    of_these = body(width)

    @T.macro
    def whole(begin, *args):
        for i in T.unroll(count):
            of_these(begin + i * width, *args)

    if not left:
        return whole
    others = in_vectors(left, body)

    @T.macro
    def all_of_them(begin, *args):
        whole(begin, *args)
        others(begin + count * width, *args)

    return all_of_them


def clear(elements: int, dtype: str, vector: bool):
    """A TIR macro: acc[a : a + elements] = 0."""
    each = T.vectorized if vector else T.serial

    def lanes(width):
        @T.macro
        def body(i, acc):
            for v in each(width):
                acc[i + v] = T.Cast(dtype, 0)

        return body

    all_lanes = in_vectors(elements, lanes)

    @T.macro
    def clear_all(acc, a):
        all_lanes(a, acc)

    return clear_all


def put(elements: int, dtype: str, vector: bool):
    """A TIR macro: acc[a : a + elements] = values[b : b + elements], in `dtype`."""
    each = T.vectorized if vector else T.serial

    def lanes(width):
        @T.macro
        def body(i, acc, a, values, b):
            for v in each(width):
                acc[a + i + v] = T.Cast(dtype, values[b + i + v])

        return body

    all_lanes = in_vectors(elements, lanes)

    @T.macro
    def put_all(acc, a, values, b):
        all_lanes(0, acc, a, values, b)

    return put_all


def add(elements: int, dtype: str, vector: bool):
    """A TIR macro: acc[a : a + elements] += values[b : b + elements] << shift, in `dtype`."""
    each = T.vectorized if vector else T.serial

    def lanes(width):
        @T.macro
        def body(i, acc, a, values, b, shift):
            for v in each(width):
                acc[a + i + v] = acc[a + i + v] + T.shift_left(
                    T.Cast(dtype, values[b + i + v]), T.Cast(dtype, shift)
                )

        return body

    all_lanes = in_vectors(elements, lanes)

    @T.macro
    def add_all(acc, a, values, b, shift):
        all_lanes(0, acc, a, values, b, shift)

    return add_all


def add_product(elements: int, dtype: str, vector: bool):
    """A TIR macro: acc[a : a + elements] += factor * values[b : b + elements], in `dtype`."""
    each = T.vectorized if vector else T.serial

    def lanes(width):
        @T.macro
        def body(i, acc, a, values, b, factor):
            for v in each(width):
                acc[a + i + v] = acc[a + i + v] + T.Cast(dtype, factor) * T.Cast(
                    dtype, values[b + i + v]
                )

        return body

    all_lanes = in_vectors(elements, lanes)

    @T.macro
    def add_all(acc, a, values, b, factor):
        all_lanes(0, acc, a, values, b, factor)

    return add_all
