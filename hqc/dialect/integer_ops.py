"""What ops of standard ONNX take for granted where they stand in an integer graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from hqc.dialect.add_potentials import verify_sum_of_potentials
from hqc.dialect.facts import Facts
from hqc.dialect.gate_potentials import verify_gate
from hqc.dialect.integer_conv import verify_integer_conv
from hqc.dialect.integer_matmul import verify_matmul
from hqc.dialect.invariants import (
    InvariantError,
    constant_of,
    expect_shape,
    expect_within,
    facts_of,
    verify_value,
)
from hqc.dialect.op import find_op
from hqc.dialect.positions import verify_positions
from hqc.dialect.relu_potentials import verify_relu


def _verify_view(node: ir.Node) -> None:
    """Views and casts: the same integers of the same kind."""
    x, y = facts_of(node.inputs[0]), facts_of(node.outputs[0])
    if (x.kind, x.unit) != (y.kind, y.unit):
        raise InvariantError(f"it turns {x.kind} of unit {x.unit} into {y.kind} of unit {y.unit}")
    expect_within(node.outputs[0], np.array(x.low), np.array(x.high))


def _verify_part(node: ir.Node) -> None:
    """A part, or copies, of one tensor, or several in one: integers of the same kind and unit."""
    y = facts_of(node.outputs[0])
    values = node.inputs if node.op_type == "Concat" else node.inputs[:1]
    for x in (facts_of(v) for v in values):
        if x.unit != y.unit or (x.kind != y.kind and {x.kind, y.kind} != {"spikes", "levels"}):
            raise InvariantError(f"it makes {y.kind} of unit {y.unit} of {x.kind} of unit {x.unit}")
        expect_within(node.outputs[0], np.array(x.lowest), np.array(x.highest))


def _verify_add(node: ir.Node) -> None:
    if node.inputs[1].const_value is not None:
        verify_positions(node)
        return
    if facts_of(node.outputs[0]).kind == "potentials":
        verify_sum_of_potentials(node)
        return
    a, b = (facts_of(v, "spikes", "levels") for v in node.inputs)
    facts_of(node.outputs[0], "levels")
    for value in (node.inputs[1], node.outputs[0]):
        expect_shape(value, node.inputs[0].shape.numpy())
    expect_within(node.outputs[0], np.array(a.lowest + b.lowest), np.array(a.highest + b.highest))


def _verify_pad(node: ir.Node) -> None:
    x = facts_of(node.inputs[0], "potentials")
    y = facts_of(node.outputs[0], "potentials")
    if x.unit != y.unit:
        raise InvariantError(f"it turns potentials of unit {x.unit} into some of unit {y.unit}")
    expect_within(node.outputs[0], np.minimum(x.low, 0), np.maximum(x.high, 0))


def _verify_spikes(node: ir.Node) -> None:
    for value in (*node.inputs, node.outputs[0]):
        facts_of(value, "spikes")


def _verify_matmul(node: ir.Node) -> None:
    """A product of activations, of which one at least is spikes or sums of them."""
    a, b = (facts_of(v, "spikes", "levels", "sums", "potentials") for v in node.inputs)
    facts_of(node.outputs[0], "sums")
    if not {a.kind, b.kind} & {"spikes", "levels"} or any(
        v.dtype.name != "INT32" for v in node.inputs
    ):
        raise InvariantError(f"it multiplies {a.kind} and {b.kind}")
    count = node.inputs[0].shape.numpy()[-1]
    ends = [x * y * count for x in (a.lowest, a.highest) for y in (b.lowest, b.highest)]
    expect_within(node.outputs[0], np.array(min(ends)), np.array(max(ends)))


def _verify_reduction(node: ir.Node) -> None:
    x = facts_of(node.inputs[0], "spikes", "levels", "potentials")
    shape = node.inputs[0].shape.numpy()
    count = int(np.prod([shape[a] for a in constant_of(node.inputs[1])]))
    expect_within(node.outputs[0], np.multiply(x.low, count), np.multiply(x.high, count))


_STANDARD: dict[str, Callable[[ir.Node], None]] = {
    "Add": _verify_add,
    "BitwiseAnd": _verify_spikes,
    "BitwiseXor": _verify_spikes,
    "Cast": _verify_view,
    "Concat": _verify_part,
    "ConvInteger": verify_integer_conv,
    "Expand": _verify_part,
    "Gather": _verify_part,
    "MatMul": _verify_matmul,
    "MatMulInteger": verify_matmul,
    "Mul": verify_gate,
    "Pad": _verify_pad,
    "ReduceSum": _verify_reduction,
    "Relu": verify_relu,
    "Reshape": _verify_view,
    "Slice": _verify_part,
    "Transpose": _verify_view,
}


def verify_node(node: ir.Node) -> None:
    """Raise `InvariantError` or `RangeError` where an integer node is not as its op needs it."""
    if not any(Facts.of(v) for v in (*node.inputs, *node.outputs)):
        return
    op = find_op(node)
    verify = op.verify if op is not None else _STANDARD.get(node.op_type)
    if verify is None:
        raise InvariantError("there is no such op on integers")
    facts_of(node.outputs[0])
    verify_value(node.outputs[0])
    verify(node)
