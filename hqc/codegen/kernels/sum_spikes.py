"""SumSpikes: spikes per channel, kept between time steps."""

from __future__ import annotations

import math

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import ANY, Input, KernelCall, Output, kernel
from hqc.codegen.kernels.neurons import WORD


@kernel("SumSpikes")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a SumSpikes; its output lasts between time steps."""
    _, height, width, planes, in_words = node.inputs[0].shape.numpy()
    channels = node.attributes["channels"].value
    positions = math.prod((height, width))
    return KernelCall(
        lambda: _build(positions, planes, in_words, channels),
        (Input(0), Output()),
        ("sum", positions, planes, in_words, channels),
    )


def _build(positions: int, planes: int, in_words: int, channels: int):
    @T.prim_func(s_tir=True)
    def sum_spikes(
        x_p: T.handle("uint32"), y_p: T.handle("int32"), t_begin: T.int32, steps: T.int32
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "uint32", data=x_p)
        y = T.decl_buffer((ANY,), "int32", data=y_p)
        if t_begin == 0:
            for c in range(channels):
                y[c] = 0
        for w in range(in_words):
            sums = T.alloc_buffer((WORD,), "int32")
            for v in T.vectorized(WORD):
                sums[v] = 0
            for row in range(steps * positions):
                for p in T.unroll(planes):
                    for v in T.vectorized(WORD):
                        sums[v] = sums[v] + T.Cast(
                            "int32",
                            T.shift_left(
                                T.shift_right(
                                    x[(row * planes + p) * in_words + w], T.Cast("uint32", v)
                                )
                                & T.uint32(1),
                                T.uint32(p),
                            ),
                        )
            for v in range(T.min(WORD, channels - w * WORD)):
                y[w * WORD + v] = y[w * WORD + v] + sums[v]

    return sum_spikes
