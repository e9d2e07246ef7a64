"""AndSpikes: where both fire."""

from __future__ import annotations

import math

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import ANY, Input, KernelCall, Output, kernel


@kernel("AndSpikes")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of an AndSpikes."""
    positions, mask = (math.prod(v.shape.numpy()[1:3]) for v in node.inputs)
    in_words = node.inputs[0].shape.numpy()[4]
    return KernelCall(
        lambda: _build(positions, mask, in_words),
        (Input(0), Input(1), Output()),
        ("and", positions, mask, in_words),
    )


def _build(positions: int, mask: int, in_words: int):
    @T.prim_func(s_tir=True)
    def and_spikes(
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
        for s in range(steps):
            for row in range(positions):
                for w in range(in_words):
                    at: T.let = (s * positions + row) * in_words + w
                    same: T.let = (s * mask + row % mask) * in_words + w
                    y[at] = a[at] & b[same]

    return and_spikes
