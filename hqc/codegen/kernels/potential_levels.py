"""PotentialLevels: neurons of several levels on potentials, a word of each bit plane at a time."""

from __future__ import annotations

import math

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import (
    ANY,
    Constant,
    Input,
    KernelCall,
    Output,
    State,
    Stride,
    kernel,
)
from hqc.codegen.kernels.neurons import WORD, word_of


@kernel("PotentialLevels")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a PotentialLevels."""
    _, *position, columns = node.inputs[0].shape.numpy()
    positions = math.prod(position)
    thresholds, drop = (v.const_value.numpy() for v in node.inputs[1:])
    given = {name: a.value for name, a in node.attributes.items()}
    leak = given["leak_multiplier"], given.get("leak_shift", 0)
    sizes = positions, columns, given["channels"], given["planes"], thresholds.size, int(drop[0])
    return KernelCall(
        lambda: _build(*sizes, *leak),
        (
            Input(0),
            Output(),
            Constant(thresholds),
            State(columns * 4, positions * columns * 4),
            Stride(columns),
        ),
        ("potential levels", *sizes, *leak),
    )


def _build(
    positions: int,
    columns: int,
    channels: int,
    planes: int,
    most: int,
    drop: int,
    multiplier: int,
    shift: int,
):
    words_, half = columns // WORD, (1 << shift) >> 1

    def leaked(u):
        if multiplier == 0:
            return T.int32(0)
        if shift == 0:
            return u
        product = T.Cast("int64", u) * T.int64(multiplier) + T.int64(half)
        return T.Cast("int32", T.shift_right(product, T.int64(shift)))

    @T.prim_func(s_tir=True)
    def potential_levels(
        x_p: T.handle("int32"),
        y_p: T.handle("uint32"),
        thresholds_p: T.handle("int32"),
        u_p: T.handle("int32"),
        stride: T.int32,
        t_begin: T.int32,
        steps: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "int32", data=x_p)
        y = T.decl_buffer((ANY,), "uint32", data=y_p)
        thresholds = T.decl_buffer((ANY,), "int32", data=thresholds_p)
        u = T.decl_buffer((ANY,), "int32", data=u_p)
        for row in range(positions):
            if t_begin == 0:
                for n in range(columns):
                    u[row * stride + n] = 0
            for s in range(steps):
                for w in range(words_):
                    at: T.let = (s * positions + row) * columns + w * WORD
                    own: T.let = row * stride + w * WORD
                    out: T.let = (s * positions + row) * planes * words_ + w
                    charged = T.alloc_buffer((WORD,), "int32")
                    level = T.alloc_buffer((WORD,), "int32")
                    for v in T.vectorized(WORD):
                        charged[v] = leaked(u[own + v]) + x[at + v]
                        level[v] = 0
                    for k in range(most):
                        for v in T.vectorized(WORD):
                            level[v] = level[v] + T.Select(
                                charged[v] >= thresholds[k], T.int32(1), T.int32(0)
                            )
                    for v in T.vectorized(WORD):
                        level[v] = T.Select(w * WORD + v < channels, level[v], T.int32(0))
                    for v in T.vectorized(WORD):
                        u[own + v] = charged[v] - level[v] * drop
                    for p in T.unroll(planes):
                        y[out + p * words_] = word_of(
                            (level[T.Ramp(0, 1, WORD)] & T.int32(1 << p)) != T.int32(0)
                        )

    return potential_levels
