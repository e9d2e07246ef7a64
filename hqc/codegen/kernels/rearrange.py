"""RearrangeSpikes, RearrangePotentials and JoinPositions: numbers moved within a time step."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import ANY, Constant, Input, KernelCall, Output, kernel
from hqc.codegen.kernels.neurons import WORD


@kernel("RearrangeSpikes")
def emit_spikes(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a RearrangeSpikes: whole positions where their channels stay together."""
    _, *position, planes, in_words = node.inputs[0].shape.numpy()
    positions, columns = math.prod(position), WORD * in_words
    rows, places = (v.const_value.numpy().reshape(-1) for v in node.inputs[1:])
    made_planes, made = node.outputs[0].shape.numpy()[3:]
    # A table counts numbers; in memory a position has all of its planes.
    at, offsets = (t // columns * planes * columns + t % columns for t in (rows, places))
    if made_planes == planes and _is_whole(node, rows, places, columns):
        words = planes * in_words
        table = Constant((at // WORD).astype(np.int32))
        sizes = positions * words, rows.size, words
        return KernelCall(
            lambda: _build_rows("uint32", *sizes),
            (Input(0), Output(), table),
            ("rearrange rows", "uint32", *sizes),
        )
    size = positions * planes * in_words
    sizes = rows.size, places.size, planes, made_planes, size, columns, made
    tables = (Constant(t.astype(np.int32)) for t in (at, offsets))
    return KernelCall(
        lambda: _build_bits(*sizes), (Input(0), Output(), *tables), ("rearrange bits", *sizes)
    )


@kernel("RearrangePotentials")
def emit_potentials(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a RearrangePotentials: whole positions where their channels stay together."""
    _, *position, columns = node.inputs[0].shape.numpy()
    rows, places = (v.const_value.numpy().reshape(-1) for v in node.inputs[1:])
    made, size = node.outputs[0].shape.numpy()[3], math.prod(position) * columns
    if _is_whole(node, rows, places, columns):
        sizes = size, rows.size, columns
        return KernelCall(
            lambda: _build_rows("int32", *sizes),
            (Input(0), Output(), Constant(rows)),
            ("rearrange rows", "int32", *sizes),
        )
    sizes = size, rows.size, places.size, made
    return KernelCall(
        lambda: _build_numbers(*sizes),
        (Input(0), Output(), Constant(rows), Constant(places)),
        ("rearrange numbers", *sizes),
    )


@kernel("JoinPositions")
def emit_join(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a JoinPositions."""
    sizes = [math.prod(v.shape.numpy()[1:]) for v in node.inputs]
    dtype = node.inputs[0].dtype.name.lower()
    return KernelCall(
        lambda: _build_join(dtype, *sizes),
        (Input(0), Input(1), Output()),
        ("join positions", dtype, *sizes),
    )


def _is_whole(node: ir.Node, rows: np.ndarray, places: np.ndarray, columns: int) -> bool:
    """Whether every position's channels are all those of one position, in order."""
    own = np.arange(node.attributes["channels"].value)
    return np.array_equal(places, own) and not np.any(rows % columns)


def _build_rows(dtype: str, size: int, positions: int, words: int):
    @T.prim_func(s_tir=True)
    def rearrange_rows(
        x_p: T.handle(dtype),
        y_p: T.handle(dtype),
        rows_p: T.handle("int32"),
        t_begin: T.int32,
        steps: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), dtype, data=x_p)
        y = T.decl_buffer((ANY,), dtype, data=y_p)
        rows = T.decl_buffer((ANY,), "int32", data=rows_p)
        for s in range(steps):
            for row in range(positions):
                at: T.let = (s * positions + row) * words
                of: T.let = s * size + rows[row]
                for w in range(words):
                    y[at + w] = x[of + w]

    return rearrange_rows


def _build_bits(
    positions: int, channels: int, own: int, planes: int, size: int, pitch: int, made: int
):
    @T.prim_func(s_tir=True)
    def rearrange_bits(
        x_p: T.handle("uint32"),
        y_p: T.handle("uint32"),
        rows_p: T.handle("int32"),
        columns_p: T.handle("int32"),
        t_begin: T.int32,
        steps: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "uint32", data=x_p)
        y = T.decl_buffer((ANY,), "uint32", data=y_p)
        rows = T.decl_buffer((ANY,), "int32", data=rows_p)
        columns = T.decl_buffer((ANY,), "int32", data=columns_p)
        for s in range(steps):
            for row in range(positions):
                for p in range(planes):
                    at: T.let = ((s * positions + row) * planes + p) * made
                    for w in range(made):
                        y[at + w] = T.uint32(0)
                    if p < own:
                        for c in range(channels):
                            of: T.let = rows[row] + columns[c] + p * pitch
                            bit: T.let = T.shift_right(
                                x[s * size + of // WORD], T.Cast("uint32", of % WORD)
                            ) & T.uint32(1)
                            y[at + c // WORD] = y[at + c // WORD] | T.shift_left(
                                bit, T.Cast("uint32", c % WORD)
                            )

    return rearrange_bits


def _build_numbers(size: int, positions: int, channels: int, made: int):
    @T.prim_func(s_tir=True)
    def rearrange_numbers(
        x_p: T.handle("int32"),
        y_p: T.handle("int32"),
        rows_p: T.handle("int32"),
        columns_p: T.handle("int32"),
        t_begin: T.int32,
        steps: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "int32", data=x_p)
        y = T.decl_buffer((ANY,), "int32", data=y_p)
        rows = T.decl_buffer((ANY,), "int32", data=rows_p)
        columns = T.decl_buffer((ANY,), "int32", data=columns_p)
        for s in range(steps):
            for row in range(positions):
                at: T.let = (s * positions + row) * made
                for c in range(channels):
                    y[at + c] = x[s * size + rows[row] + columns[c]]
                for c in range(made - channels):
                    y[at + channels + c] = 0

    return rearrange_numbers


def _build_join(dtype: str, first: int, second: int):
    @T.prim_func(s_tir=True)
    def join_positions(
        a_p: T.handle(dtype),
        b_p: T.handle(dtype),
        y_p: T.handle(dtype),
        t_begin: T.int32,
        steps: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        a = T.decl_buffer((ANY,), dtype, data=a_p)
        b = T.decl_buffer((ANY,), dtype, data=b_p)
        y = T.decl_buffer((ANY,), dtype, data=y_p)
        for s in range(steps):
            for i in range(first):
                y[s * (first + second) + i] = a[s * first + i]
            for i in range(second):
                y[s * (first + second) + first + i] = b[s * second + i]

    return join_positions
