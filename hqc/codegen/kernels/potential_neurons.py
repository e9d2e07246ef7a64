"""PotentialNeurons: neurons on potentials; a position's own stay in the first cache."""

from __future__ import annotations

import math

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import (
    ANY,
    Input,
    KernelCall,
    Output,
    kernel,
)
from hqc.codegen.kernels.neurons import WORD, Neurons, fire, row_of
from hqc.codegen.kernels.rows import Rows


@kernel("PotentialNeurons")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a PotentialNeurons."""
    time_steps, *position, columns = node.inputs[0].shape.numpy()
    positions, neurons = math.prod(position), Neurons.of(node)
    channels = node.attributes["channels"].value
    return KernelCall(
        lambda: _build(positions, channels, columns // WORD, neurons, vector),
        (
            Input(0),
            Output(),
            neurons.levels(node, 1, channels, time_steps, vector),
            *neurons.state(positions, row_of(channels, vector)),
        ),
        ("potential neurons", positions, channels, neurons, vector),
        _rows(positions, columns // WORD).count,
    )


def _rows(positions: int, words_: int) -> Rows:
    """Rows of positions."""
    return Rows.in_lines(positions, words_ * WORD // 8)


def _build(positions: int, channels: int, words_: int, neurons: Neurons, vector: bool):
    epilogue, row_size = fire(neurons, channels, vector), row_of(channels, vector)
    rows = _rows(positions, words_)

    @T.prim_func(s_tir=True)
    def potential_neurons(
        x_p: T.handle("int32"),
        y_p: T.handle("uint32"),
        levels_p: T.handle("int32"),
        u_p: T.handle(neurons.potential),
        stride: T.int32,
        t_begin: T.int32,
        steps: T.int32,
        part: T.int32,
        parts: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "int32", data=x_p)
        y = T.decl_buffer((ANY,), "uint32", data=y_p)
        levels = T.decl_buffer((ANY,), "int32", data=levels_p)
        u = T.decl_buffer((ANY,), neurons.potential, data=u_p)
        for row in range(positions):
            mine: T.let = rows.has(row, part, parts)
            if t_begin == 0 and mine:
                for n in range(row_size):
                    u[row * stride + n] = T.Cast(neurons.potential, 0)
            for s in range(T.Select(mine, steps, 0)):
                for w in range(words_):
                    at: T.let = (s * positions + row) * words_ + w
                    epilogue(
                        x, at * WORD, u, row * stride + w * WORD, levels, w * WORD,
                        y, at, t_begin + s,
                    )  # fmt: skip

    return potential_neurons
