"""RescalePotentials: potentials in another unit."""

from __future__ import annotations

import math

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import ANY, Input, KernelCall, Output, kernel
from hqc.codegen.kernels.neurons import WORD
from hqc.codegen.kernels.rescaling import Rescaling, rescale


@kernel("RescalePotentials")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a RescalePotentials."""
    _, *position, columns = node.inputs[0].shape.numpy()
    rescaling, positions = Rescaling.of(node), math.prod(position)
    return KernelCall(
        lambda: _build(positions, columns, rescaling),
        (Input(0), Output(), *rescaling.levels(node, 1, node.attributes["channels"].value)),
        ("rescale", positions, columns, rescaling),
    )


def _build(positions: int, columns: int, rescaling: Rescaling):
    epilogue = rescale(rescaling)

    @T.prim_func(s_tir=True)
    def rescale_potentials(
        x_p: T.handle("int32"),
        y_p: T.handle("int32"),
        multiplier_p: T.handle("int32"),
        bias_p: T.handle("int64"),
        t_begin: T.int32,
        steps: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "int32", data=x_p)
        y = T.decl_buffer((ANY,), "int32", data=y_p)
        multiplier = T.decl_buffer((ANY,), "int32", data=multiplier_p)
        bias = T.decl_buffer((ANY,), "int64", data=bias_p)
        for row in range(steps * positions):
            for w in range(columns // WORD):
                at: T.let = row * columns + w * WORD
                epilogue(x, at, multiplier, bias, w * WORD, y, at)

    return rescale_potentials
