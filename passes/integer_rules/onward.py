"""What an error of a layer's output comes to in neurons that read it and are not lowered yet."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT, find_op
from hqc.dialect.integer_lif import NEURONS
from hqc.passes.graph import constant
from hqc.passes.integer_rules.arithmetic import batch_norm

_ELEMENTWISE = {"Add", "Sub", "Identity", "Dropout", "Relu"}
"""Ops whose output is off by no more than their inputs together, number by number."""

_VIEWS = {
    *("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze"),
    *("Slice", "Gather", "Concat", "Expand", "Pad", "ReduceMax", "ReduceMean"),
}
"""Ops no number of whose output is off by more than the worst of their inputs' numbers together."""


def memory_of(node: ir.Node, steps: int) -> float:
    """How many times what neurons take in at a step their potentials hold after so many, at most.

    node: `LIF` or `IntegerLIF`.
    """
    attributes = find_op(node).attributes(node)
    keep = 1 - 1 / attributes["tau"]
    gain = 1 - keep if attributes["decay_input"] else 1.0
    return gain * (steps if keep == 1 else (1 - keep**steps) / (1 - keep))


def share_of_thresholds(value: ir.Value, error: float) -> float:
    """How far potentials of the neurons that read a layer's output are off, over their threshold.

    error: what any number of the output is off by, at most. It is followed through BatchNorms,
    constant factors, sums and views to all neurons; the greatest share is returned. It is infinite
    where anything else reads it: a layer, an output of the network, a product of activations, or
    neurons whose threshold is not above 0.
    """
    off, share = {value: np.asarray(error)}, 0.0
    for node in value.producer().graph:
        errors = [off[v] for v in node.inputs if v in off]
        if not errors:
            continue
        if node.domain == DIALECT and node.op_type in NEURONS:
            threshold = find_op(node).attributes(node)["v_threshold"]
            reached = float(errors[0].max()) * memory_of(node, node.inputs[0].shape.numpy()[0])
            share = max(share, reached / threshold if threshold > 0 else np.inf)
            continue
        passed = _passed_on(node, errors)
        if passed is None:
            return np.inf
        off[node.outputs[0]] = passed
    return np.inf if any(v.is_graph_output() for v in off) else share


def _passed_on(node: ir.Node, errors: list[np.ndarray]) -> np.ndarray | None:
    """What a node's output is off by; None where this does not say."""
    if node.op_type in _ELEMENTWISE:
        return sum(errors[1:], errors[0])
    if node.op_type in _VIEWS:
        return np.asarray(sum(e.max() for e in errors))
    if node.op_type == "BatchNormalization":
        factor, _ = batch_norm(node)
        rank = len(node.inputs[0].shape.numpy())
        return errors[0] * np.abs(factor).reshape(-1, *(1,) * (rank - 2))
    factors = [constant(v) for v in node.inputs]
    if node.op_type == "Mul" and any(f is not None for f in factors):
        (factor,) = (f for f in factors if f is not None)
        return errors[0] * np.abs(factor)
    if node.op_type == "Div" and factors[1] is not None and np.all(factors[1]):
        return errors[0] / np.abs(factors[1])
    return None
