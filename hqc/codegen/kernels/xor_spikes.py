"""XorSpikes: where one of two fires."""

from __future__ import annotations

import math

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import ANY, Input, KernelCall, Output, kernel


@kernel("XorSpikes")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of an XorSpikes."""
    in_words = math.prod(node.inputs[0].shape.numpy()[1:])
    return KernelCall(lambda: _build(in_words), (Input(0), Input(1), Output()), ("xor", in_words))


def _build(in_words: int):
    @T.prim_func(s_tir=True)
    def xor_spikes(
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
        for at in range(steps * in_words):
            y[at] = a[at] ^ b[at]

    return xor_spikes
