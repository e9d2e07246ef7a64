"""GatePotentials: potentials times the spikes of the same places."""

from __future__ import annotations

import math

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import ANY, Input, KernelCall, Output, kernel
from hqc.codegen.kernels.neurons import WORD
from hqc.codegen.kernels.spikes_as_potentials import small_integer


@kernel("GatePotentials")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a GatePotentials."""
    _, *position, planes, in_words = node.inputs[1].shape.numpy()
    sizes = math.prod(position), planes, in_words
    return KernelCall(
        lambda: _build(*sizes), (Input(0), Input(1), Output()), ("gate potentials", *sizes)
    )


def _build(positions: int, planes: int, in_words: int):
    @T.prim_func(s_tir=True)
    def gate_potentials(
        x_p: T.handle("int32"),
        gate_p: T.handle("uint32"),
        y_p: T.handle("int32"),
        t_begin: T.int32,
        steps: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "int32", data=x_p)
        gate = T.decl_buffer((ANY,), "uint32", data=gate_p)
        y = T.decl_buffer((ANY,), "int32", data=y_p)
        for row in range(steps * positions):
            for w in range(in_words):
                at: T.let = (row * in_words + w) * WORD
                of: T.let = row * planes * in_words + w
                for v in T.vectorized(WORD):
                    y[at + v] = x[at + v] * small_integer(gate, of, in_words, planes, v)

    return gate_potentials
