"""Comparisons that are read as numbers: neurons without a memory."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.passes.graph import constant
from hqc.passes.spellings.spelling import Rewrite, spelling

_TURNED = {"GreaterOrEqual": False, "LessOrEqual": True, "Less": False, "Greater": True}
"""Whether b - a, not a - b, is what is compared with 0."""

_NEGATED = {"Less", "Greater"}


@spelling("Cast")
def as_number(rewrite: Rewrite) -> None:
    """a >= b as 0 or 1 -> a LIF of tau 1, threshold 0 on a - b; a > b -> 1 less that of b - a."""
    node = rewrite.node
    fires = _step(rewrite, node.inputs[0].producer())
    if fires is not None and node.outputs[0].dtype == ir.DataType.FLOAT:
        rewrite.finish(_between(rewrite, fires, 0.0, 1.0))


@spelling("Where")
def as_choice(rewrite: Rewrite) -> None:
    """One of two constants by a comparison -> the one, plus where it holds what is between them."""
    condition, *choices = rewrite.node.inputs
    numbers = [constant(v) for v in choices]
    if any(n is None or n.size != 1 for n in numbers):
        return
    fires = _step(rewrite, condition.producer())
    if fires is not None:
        rewrite.finish(_between(rewrite, fires, numbers[1].item(), numbers[0].item()))


def _step(rewrite: Rewrite, comparison: ir.Node | None) -> tuple[ir.Value, bool] | None:
    """Spikes, and whether they are where a comparison does not hold; None where it is none."""
    if comparison is None or comparison.domain or comparison.op_type not in _TURNED:
        return None
    a, b = comparison.inputs
    turned = _TURNED[comparison.op_type]
    if (constant(a) is not None and constant(b) is not None) or a.dtype != ir.DataType.FLOAT:
        return None
    shape = comparison.outputs[0].shape.numpy()
    high, low = (b, a) if turned else (a, b)
    number = constant(low)
    if number is not None and not number.any():
        gap = high
    else:
        gap = rewrite.op("Sub", [high, low], shape, what="gap")
    spikes = rewrite.op(
        "LIF", [gap], shape, what="fires", domain=DIALECT, tau=1.0, v_threshold=0.0, decay_input=0
    )
    return spikes, comparison.op_type in _NEGATED


def _between(
    rewrite: Rewrite, step: tuple[ir.Value, bool], silent: float, fires: float
) -> ir.Value:
    spikes, negated = step
    if negated:
        silent, fires = fires, silent
    shape = rewrite.node.outputs[0].shape.numpy()
    if fires - silent != 1:
        factor = rewrite.constant(np.array(fires - silent, np.float32), "height")
        spikes = rewrite.op("Mul", [spikes, factor], shape, what="high")
    if silent:
        base = rewrite.constant(np.array(silent, np.float32), "base")
        spikes = rewrite.op("Add", [spikes, base], shape, what="raised")
    return spikes
