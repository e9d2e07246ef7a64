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
    State,
    Stride,
    kernel,
)
from hqc.codegen.kernels.neurons import WORD, Neurons, fire


@kernel("PotentialNeurons")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a PotentialNeurons."""
    time_steps, *position, columns = node.inputs[0].shape.numpy()
    positions, neurons = math.prod(position), Neurons.of(node)
    channels = node.attributes["channels"].value
    return KernelCall(
        lambda: _build(positions, columns, neurons),
        (
            Input(0),
            Output(),
            neurons.levels(node, 1, channels, time_steps),
            State(columns * 4, positions * columns * 4),
            Stride(columns),
        ),
        ("potential neurons", positions, columns, neurons),
    )


def _build(positions: int, columns: int, neurons: Neurons):
    epilogue, words_ = fire(neurons, columns), columns // WORD

    @T.prim_func(s_tir=True)
    def potential_neurons(
        x_p: T.handle("int32"),
        y_p: T.handle("uint32"),
        levels_p: T.handle("int32"),
        u_p: T.handle("int32"),
        stride: T.int32,
        t_begin: T.int32,
        steps: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "int32", data=x_p)
        y = T.decl_buffer((ANY,), "uint32", data=y_p)
        levels = T.decl_buffer((ANY,), "int32", data=levels_p)
        u = T.decl_buffer((ANY,), "int32", data=u_p)
        for row in range(positions):
            if t_begin == 0:
                for n in range(columns):
                    u[row * stride + n] = 0
            for s in range(steps):
                for w in range(words_):
                    at: T.let = (s * positions + row) * words_ + w
                    epilogue(
                        x, at * WORD, u, row * stride + w * WORD, levels, w * WORD,
                        y, at, t_begin + s,
                    )  # fmt: skip

    return potential_neurons
