"""IntegerLinear: the classifier."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import (
    ANY,
    Constant,
    Input,
    KernelCall,
    Output,
    Scratch,
    kernel,
)
from hqc.codegen.kernels.rounding import scaled
from hqc.codegen.kernels.unpack import unpack
from hqc.codegen.kernels.weights import StoredWeights
from hqc.dialect import find_op
from hqc.errors import VerificationError


@kernel("IntegerLinear")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of an IntegerLinear."""
    codes, bias, scale = (v.const_value.numpy() for v in node.inputs[1:])
    stored = StoredWeights.of(node, codes)
    inputs, classes = codes.shape
    attributes = find_op(node).attributes(node)
    sums, shift = "int64" if attributes["wide"] else "int32", attributes["shift"]
    if not np.can_cast(bias.dtype, sums):
        raise VerificationError(f"node {node.name!r}: a bias of {bias.dtype} for sums of {sums}")
    return KernelCall(
        lambda: _build(stored, inputs, classes, sums, shift, vector),
        (
            Input(0),
            Output(),
            *stored.constants(),
            Constant(bias.reshape(-1).astype(sums)),
            Constant(scale.reshape(-1).view(np.uint32)),
            Scratch(inputs * stored.columns * stored.code_bits // 8),
        ),
        ("linear", stored.form, sums, shift, vector),
    )


def _build(stored: StoredWeights, inputs: int, classes: int, sums: str, shift: int, vector: bool):
    columns = stored.columns
    fill = unpack(stored, columns, vector)
    field, offset = (str(c.array.dtype) for c in stored.constants())

    @T.prim_func(s_tir=True)
    def integer_linear(
        x_p: T.handle("int32"),
        y_p: T.handle("uint32"),
        stored_p: T.handle(field),
        offsets_p: T.handle(offset),
        bias_p: T.handle(sums),
        scale_p: T.handle("uint32"),
        codes_p: T.handle(stored.code),
        t_begin: T.int32,
        steps: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "int32", data=x_p)
        y = T.decl_buffer((ANY,), "uint32", data=y_p)
        packed = T.decl_buffer((ANY,), field, data=stored_p)
        offsets = T.decl_buffer((ANY,), offset, data=offsets_p)
        bias = T.decl_buffer((ANY,), sums, data=bias_p)
        scale = T.decl_buffer((ANY,), "uint32", data=scale_p)
        codes = T.decl_buffer((ANY,), stored.code, data=codes_p)
        fill(packed, offsets, codes)
        for n in range(classes):
            acc = T.alloc_buffer((1,), sums)
            acc[0] = T.Cast(sums, 0)
            for k in range(inputs):
                acc[0] = acc[0] + T.Cast(sums, x[k]) * T.Cast(sums, codes[k * columns + n])
            total = T.alloc_buffer((1,), "int64")
            total[0] = T.Cast("int64", T.shift_left(acc[0], T.Cast(sums, shift)) + bias[n])
            scaled(total, scale, n, y, n)

    return integer_linear
