"""SumPotentials and CountSpikes: sums over the positions of each time step."""

from __future__ import annotations

import math

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import ANY, Input, KernelCall, Output, kernel
from hqc.codegen.kernels.neurons import WORD
from hqc.codegen.kernels.spikes_as_potentials import unpacked


@kernel("SumPotentials")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a SumPotentials."""
    _, *position, columns = node.inputs[0].shape.numpy()
    positions = math.prod(position)
    return KernelCall(
        lambda: _build("int32", positions, 1, columns // WORD, _add),
        (Input(0), Output()),
        ("sum potentials", positions, columns),
    )


@kernel("CountSpikes")
def emit_count(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a CountSpikes."""
    _, *position, planes, in_words = node.inputs[0].shape.numpy()
    positions = math.prod(position)
    return KernelCall(
        lambda: _build("uint32", positions, planes, in_words, unpacked(planes)),
        (Input(0), Output()),
        ("count spikes", positions, planes, in_words),
    )


@T.macro
def _add(x, word, in_words, y, at):
    for v in T.vectorized(WORD):
        y[at + v] = y[at + v] + x[word * WORD + v]


def _build(dtype: str, positions: int, planes: int, in_words: int, add_word):
    @T.prim_func(s_tir=True)
    def sums(x_p: T.handle(dtype), y_p: T.handle("int32"), t_begin: T.int32, steps: T.int32):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), dtype, data=x_p)
        y = T.decl_buffer((ANY,), "int32", data=y_p)
        for s in range(steps):
            for w in range(in_words):
                for v in T.vectorized(WORD):
                    y[(s * in_words + w) * WORD + v] = 0
                for row in range(positions):
                    add_word(
                        x, (s * positions + row) * planes * in_words + w, in_words,
                        y, (s * in_words + w) * WORD,
                    )  # fmt: skip

    return sums
