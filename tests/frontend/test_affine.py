"""What elementwise ops make of one number."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.frontend.affine import Affine, Evaluation, Side


def test_long_sums_are_evaluated_without_recursion():
    """Potentials of a thousand steps, each of those of the step before."""
    x = ir.Value(name="x", shape=ir.Shape([2]), type=ir.TensorType(ir.DataType.FLOAT))
    half = ir.Value(name="half", const_value=ir.tensor(np.float32(0.5)))
    v = x
    for _ in range(3000):
        (kept,) = ir.node("Mul", [v, half]).outputs
        (v,) = ir.node("Add", [kept, x]).outputs
    made = Evaluation(Affine(np.float64(0)), Side.AT, lambda value: value is x).of(v)
    assert (made.constant, made.of(x)) == (0, 2)
