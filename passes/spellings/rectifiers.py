"""What is linear in pieces is a sum of rectified potentials: clips, slopes, maxima of two."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.passes.graph import constant
from hqc.passes.spellings.spelling import Rewrite, spelling


class _Terms:
    """Sums of shifted, scaled and rectified tensors of one shape, under a node's name."""

    def __init__(self, rewrite: Rewrite) -> None:
        self._rewrite = rewrite
        self._shape = rewrite.node.outputs[0].shape.numpy()

    def times(self, x: ir.Value, factor: np.ndarray, what: str) -> ir.Value:
        """x * factor."""
        number = self._rewrite.constant(np.asarray(factor, np.float32), what)
        return self._rewrite.op("Mul", [x, number], self._shape, what=what)

    def plus(self, x: ir.Value, y: ir.Value | np.ndarray, what: str) -> ir.Value:
        """x + y."""
        if not isinstance(y, ir.Value):
            y = self._rewrite.constant(np.asarray(y, np.float32), what)
        return self._rewrite.op("Add", [x, y], self._shape, what=what)

    def rectified(self, x: ir.Value, what: str) -> ir.Value:
        """The larger of x and 0."""
        return self._rewrite.op("Relu", [x], self._shape, what=what)


def _attribute(node: ir.Node, name: str, default: float) -> float:
    return float(node.attributes[name].value) if name in node.attributes else default


def _sloped(rewrite: Rewrite, slope: np.ndarray) -> None:
    """x above 0, x * slope below: max(x, 0) - slope * max(-x, 0)."""
    x, terms = rewrite.node.inputs[0], _Terms(rewrite)
    below = terms.rectified(terms.times(x, -1, "negative"), "below")
    rest = terms.times(below, -slope, "slope")
    rewrite.finish(terms.plus(terms.rectified(x, "above"), rest, ""))


@spelling("Abs")
def magnitude(rewrite: Rewrite) -> None:
    """|x| -> max(x, 0) + max(-x, 0)."""
    _sloped(rewrite, np.array(-1))


@spelling("LeakyRelu")
def leaky(rewrite: Rewrite) -> None:
    """A slope below 0 -> max(x, 0) - slope * max(-x, 0)."""
    _sloped(rewrite, np.array(_attribute(rewrite.node, "alpha", 0.01)))


@spelling("PRelu")
def learned_slope(rewrite: Rewrite) -> None:
    """Slopes below 0, by channel or one -> max(x, 0) - slope * max(-x, 0)."""
    slope = constant(rewrite.node.inputs[1])
    if slope is not None:
        _sloped(rewrite, slope)


@spelling("Clip")
def clipped(rewrite: Rewrite) -> None:
    """x from low to high -> low + max(x - low, 0) - max(x - high, 0)."""
    node, terms = rewrite.node, _Terms(rewrite)
    x, *ends = node.inputs
    given = [constant(end) for end in ends] + [None] * (2 - len(ends))
    if any(end is not None and array is None for end, array in zip(ends, given, strict=False)):
        return
    low, high = (None if end is None or np.isinf(end) else float(end) for end in given)
    if low is None and high is None:
        rewrite.finish(rewrite.op("Identity", [x], x.shape.numpy()))
        return
    if None not in (low, high) and low >= high:
        return  # a constant
    over = None
    if high is not None:
        over = terms.rectified(terms.plus(x, np.array(-high), "over"), "excess")
        over = terms.times(over, -1, "cut")
    if low is not None:
        above = terms.rectified(terms.plus(x, np.array(-low), "above"), "rest")
        x = terms.plus(above, np.array(low), "" if over is None else "raised")
    rewrite.finish(x if over is None else terms.plus(x, over, ""))


@spelling("Max", "Min")
def larger(rewrite: Rewrite) -> None:
    """The larger of a and b -> a + max(b - a, 0); the smaller -> a - max(a - b, 0)."""
    node, terms = rewrite.node, _Terms(rewrite)
    if len(node.inputs) != 2:
        return
    a, b = node.inputs if constant(node.inputs[0]) is None else node.inputs[::-1]
    sign, number = (1 if node.op_type == "Max" else -1), constant(b)
    if a.shape != node.outputs[0].shape or (number is None and b.shape != a.shape):
        return
    beyond = terms.times(b, sign, "b") if number is None else number * sign
    gap = terms.rectified(terms.plus(terms.times(a, -sign, "a"), beyond, "gap"), "wide")
    rewrite.finish(terms.plus(a, terms.times(gap, sign, "change"), ""))


@spelling("HardSigmoid")
def hard_sigmoid(rewrite: Rewrite) -> None:
    """alpha * x + beta, clipped from 0 to 1."""
    node, terms = rewrite.node, _Terms(rewrite)
    line = terms.times(node.inputs[0], np.array(_attribute(node, "alpha", 0.2)), "alpha")
    line = terms.plus(line, np.array(_attribute(node, "beta", 0.5)), "beta")
    ends = [rewrite.constant(np.float32(end), name) for end, name in ((0, "low"), (1, "high"))]
    rewrite.finish(rewrite.op("Clip", [line, *ends], node.outputs[0].shape.numpy()))
