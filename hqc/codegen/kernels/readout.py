"""SumSteps, KeepSteps, TakeStep and ReadLogits: what leaves a network that counts no spikes."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from tvm import tirx
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import ANY, Constant, Input, KernelCall, Output, kernel
from hqc.codegen.kernels.neurons import WORD
from hqc.codegen.kernels.rounding import scaled


@kernel("SumSteps")
def emit_sum(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a SumSteps; its output lasts between time steps."""
    size = math.prod(node.inputs[0].shape.numpy()[1:])
    return KernelCall(lambda: _build_sum(size), (Input(0), Output()), ("sum steps", size))


@kernel("KeepSteps")
def emit_keep(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a KeepSteps; its output lasts between time steps."""
    steps, *rest = node.inputs[0].shape.numpy()
    size, dtype = math.prod(rest), node.inputs[0].dtype.name.lower()
    return KernelCall(
        lambda: _build_keep(dtype, steps * size, size),
        (Input(0), Output()),
        ("keep steps", dtype, steps, size),
    )


@kernel("TakeStep")
def emit_take(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a TakeStep; its output lasts between time steps."""
    size, step = math.prod(node.inputs[0].shape.numpy()[1:]), node.attributes["step"].value
    return KernelCall(
        lambda: _build_take(size, step), (Input(0), Output()), ("take step", size, step)
    )


@kernel("ReadLogits")
def emit_read(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a ReadLogits."""
    rows, *_, columns = node.inputs[0].shape.numpy()
    channels = node.attributes["channels"].value
    scale = node.inputs[1].const_value.numpy().reshape(1).view(np.uint32)
    return KernelCall(
        lambda: _build_read(rows, columns, channels),
        (Input(0), Output(), Constant(scale)),
        ("read logits", rows, columns, channels),
    )


def _build_sum(size: int):
    @T.prim_func(s_tir=True)
    def sum_steps(x_p: T.handle("int32"), y_p: T.handle("int32"), t_begin: T.int32, steps: T.int32):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "int32", data=x_p)
        y = T.decl_buffer((ANY,), "int32", data=y_p)
        if t_begin == 0:
            for w in range(size // WORD):
                for v in T.vectorized(WORD):
                    y[w * WORD + v] = 0
        for s in range(steps):
            for w in range(size // WORD):
                for v in T.vectorized(WORD):
                    y[w * WORD + v] = y[w * WORD + v] + x[s * size + w * WORD + v]

    return sum_steps


def _build_keep(dtype: str, all_steps: int, size: int):
    lanes = math.gcd(size, WORD)

    @T.prim_func(s_tir=True)
    def keep_steps(x_p: T.handle(dtype), y_p: T.handle(dtype), t_begin: T.int32, steps: T.int32):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), dtype, data=x_p)
        y = T.decl_buffer((ANY,), dtype, data=y_p)
        if t_begin == 0:
            for w in range(all_steps // lanes):
                for v in T.vectorized(lanes):
                    y[w * lanes + v] = tirx.const(0, dtype)
        for w in range(steps * (size // lanes)):
            for v in T.vectorized(lanes):
                y[t_begin * size + w * lanes + v] = x[w * lanes + v]

    return keep_steps


def _build_take(size: int, step: int):
    @T.prim_func(s_tir=True)
    def take_step(x_p: T.handle("int32"), y_p: T.handle("int32"), t_begin: T.int32, steps: T.int32):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "int32", data=x_p)
        y = T.decl_buffer((ANY,), "int32", data=y_p)
        if t_begin == 0:
            for w in range(size // WORD):
                for v in T.vectorized(WORD):
                    y[w * WORD + v] = 0
        for s in range(steps):
            if t_begin + s == step:
                for w in range(size // WORD):
                    for v in T.vectorized(WORD):
                        y[w * WORD + v] = x[s * size + w * WORD + v]

    return take_step


def _build_read(rows: int, columns: int, channels: int):
    @T.prim_func(s_tir=True)
    def read_logits(
        x_p: T.handle("int32"),
        y_p: T.handle("uint32"),
        scale_p: T.handle("uint32"),
        t_begin: T.int32,
        steps: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "int32", data=x_p)
        y = T.decl_buffer((ANY,), "uint32", data=y_p)
        scale = T.decl_buffer((ANY,), "uint32", data=scale_p)
        for n in range(rows):
            for c in range(channels):
                total = T.alloc_buffer((1,), "int64")
                total[0] = T.Cast("int64", x[n * columns + c])
                scaled(total, scale, 0, y, n * channels + c)

    return read_logits
