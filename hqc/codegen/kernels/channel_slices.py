"""SliceChannels and ConcatChannels, of spikes and of potentials."""

from __future__ import annotations

import math

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import ANY, Input, KernelCall, Output, kernel
from hqc.codegen.kernels.neurons import WORD


def _given(node: ir.Node, *names: str) -> list[int]:
    return [node.attributes[name].value for name in names]


def _positions(node: ir.Node) -> int:
    return math.prod(node.inputs[0].shape.numpy()[1:3])


def _words(node: ir.Node) -> list[int]:
    """Words of a plane: of each input, then of the output."""
    return [v.shape.numpy()[4] for v in (*node.inputs, node.outputs[0])]


@kernel("SliceChannels")
def emit_slice(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a SliceChannels."""
    first, count, planes = _given(node, "first", "count", "planes")
    rows, sizes = _positions(node) * planes, _words(node)
    return KernelCall(
        lambda: _build_slice(rows, *sizes, first, count),
        (Input(0), Output()),
        ("slice channels", rows, *sizes, first, count),
    )


@kernel("SlicePotentials")
def emit_slice_potentials(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a SlicePotentials."""
    first, count = _given(node, "first", "count")
    rows = _positions(node)
    columns, made = (v.shape.numpy()[3] for v in (node.inputs[0], node.outputs[0]))
    return KernelCall(
        lambda: _build_slice_potentials(rows, columns, made, first, count),
        (Input(0), Output()),
        ("slice potentials", rows, columns, made, first, count),
    )


@kernel("ConcatChannels")
def emit_concat(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a ConcatChannels."""
    channels, planes = _given(node, "channels", "planes")
    positions, sizes = _positions(node), _words(node)
    own = [v.shape.numpy()[3] for v in node.inputs]
    return KernelCall(
        lambda: _build_concat(positions, planes, own, *sizes, channels),
        (Input(0), Input(1), Output()),
        ("concat channels", positions, planes, *own, *sizes, channels),
    )


@kernel("ConcatPotentials")
def emit_concat_potentials(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a ConcatPotentials."""
    channels, others = _given(node, "channels", "others")
    rows = _positions(node)
    columns = [v.shape.numpy()[3] for v in (*node.inputs, node.outputs[0])]
    return KernelCall(
        lambda: _build_concat_potentials(rows, *columns, channels, others),
        (Input(0), Input(1), Output()),
        ("concat potentials", rows, *columns, channels, others),
    )


def _build_slice(rows: int, in_words: int, out_words: int, first: int, count: int):
    skipped, shift = divmod(first, WORD)
    spare = (1 << (count - (out_words - 1) * WORD)) - 1

    @T.prim_func(s_tir=True)
    def slice_channels(
        x_p: T.handle("uint32"), y_p: T.handle("uint32"), t_begin: T.int32, steps: T.int32
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "uint32", data=x_p)
        y = T.decl_buffer((ANY,), "uint32", data=y_p)
        for row in range(steps * rows):
            for w in range(out_words):
                at: T.let = row * out_words + w
                y[at] = T.shift_right(x[row * in_words + skipped + w], T.uint32(shift))
                if shift > 0 and skipped + w + 1 < in_words:
                    y[at] = y[at] | T.shift_left(
                        x[row * in_words + skipped + w + 1], T.uint32(WORD - shift)
                    )
            y[row * out_words + out_words - 1] = y[row * out_words + out_words - 1] & T.uint32(
                spare
            )

    return slice_channels


def _build_slice_potentials(rows: int, columns: int, made: int, first: int, count: int):
    @T.prim_func(s_tir=True)
    def slice_potentials(
        x_p: T.handle("int32"), y_p: T.handle("int32"), t_begin: T.int32, steps: T.int32
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "int32", data=x_p)
        y = T.decl_buffer((ANY,), "int32", data=y_p)
        for row in range(steps * rows):
            for c in range(count):
                y[row * made + c] = x[row * columns + first + c]
            for c in range(made - count):
                y[row * made + count + c] = 0

    return slice_potentials


def _build_concat(
    positions: int,
    planes: int,
    own: list[int],
    a_words: int,
    b_words: int,
    out_words: int,
    channels: int,
):
    whole, shift = divmod(channels, WORD)
    a_planes, b_planes = own

    @T.prim_func(s_tir=True)
    def concat_channels(
        a_p: T.handle("uint32"),
        b_p: T.handle("uint32"),
        y_p: T.handle("uint32"),
        t_begin: T.int32,
        steps: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        a = T.decl_buffer((ANY,), "uint32", data=a_p)
        b = T.decl_buffer((ANY,), "uint32", data=b_p)
        y = T.decl_buffer((ANY,), "uint32", data=y_p)
        for row in range(steps * positions):
            for p in T.unroll(planes):
                for w in range(out_words):
                    y[(row * planes + p) * out_words + w] = T.uint32(0)
                if p < a_planes:
                    for w in range(a_words):
                        y[(row * planes + p) * out_words + w] = a[
                            (row * a_planes + p) * a_words + w
                        ]
                if p < b_planes:
                    for w in range(b_words):
                        at: T.let = (row * planes + p) * out_words + whole + w
                        word: T.let = b[(row * b_planes + p) * b_words + w]
                        y[at] = y[at] | T.shift_left(word, T.uint32(shift))
                        if shift > 0 and whole + w + 1 < out_words:
                            y[at + 1] = y[at + 1] | T.shift_right(word, T.uint32(WORD - shift))

    return concat_channels


def _build_concat_potentials(
    rows: int, a_columns: int, b_columns: int, made: int, channels: int, others: int
):
    @T.prim_func(s_tir=True)
    def concat_potentials(
        a_p: T.handle("int32"),
        b_p: T.handle("int32"),
        y_p: T.handle("int32"),
        t_begin: T.int32,
        steps: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        a = T.decl_buffer((ANY,), "int32", data=a_p)
        b = T.decl_buffer((ANY,), "int32", data=b_p)
        y = T.decl_buffer((ANY,), "int32", data=y_p)
        for row in range(steps * rows):
            for c in range(channels):
                y[row * made + c] = a[row * a_columns + c]
            for c in range(others):
                y[row * made + channels + c] = b[row * b_columns + c]
            for c in range(made - channels - others):
                y[row * made + channels + others + c] = 0

    return concat_potentials
