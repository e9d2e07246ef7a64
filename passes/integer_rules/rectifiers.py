"""Potentials above 0, in a head of several layers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from hqc.passes.integer_rules.quantity import Lowering, Quantity
from hqc.passes.integer_rules.registry import rule


@rule("Relu")
def lower_relu(node: ir.Node, lowering: Lowering) -> Quantity:
    """The larger of potentials and 0."""
    x = lowering.potentials(node, 0)
    like = replace(x, low=np.maximum(x.low, 0), high=np.maximum(x.high, 0))
    return lowering.emit(node, "Relu", [x.value], like, x.value.dtype)
