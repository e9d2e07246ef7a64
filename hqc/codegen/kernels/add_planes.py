"""AddPlanes: a ripple-carry adder over bit planes, 32 channels at once."""

from __future__ import annotations

import math

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import ANY, Input, KernelCall, Output, kernel


@kernel("AddPlanes")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of an AddPlanes."""
    a, b, y = (v.shape.numpy() for v in (*node.inputs, *node.outputs))
    positions = math.prod(y[1:3])
    planes = a[3], b[3], y[3]
    return KernelCall(
        lambda: _build(positions, y[4], *planes),
        (Input(0), Input(1), Output()),
        ("add", positions, y[4], *planes),
    )


def _build(positions: int, words_: int, a_planes: int, b_planes: int, y_planes: int):
    @T.prim_func(s_tir=True)
    def add_planes(
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
            for w in range(words_):
                carry = T.alloc_buffer((1,), "uint32")
                carry[0] = T.uint32(0)
                for p in T.unroll(y_planes):
                    left: T.let = T.if_then_else(
                        p < a_planes, a[(row * a_planes + p) * words_ + w], T.uint32(0)
                    )
                    right: T.let = T.if_then_else(
                        p < b_planes, b[(row * b_planes + p) * words_ + w], T.uint32(0)
                    )
                    either: T.let = T.bitwise_xor(left, right)
                    y[(row * y_planes + p) * words_ + w] = T.bitwise_xor(either, carry[0])
                    carry[0] = (left & right) | (either & carry[0])

    return add_planes
