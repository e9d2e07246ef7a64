"""What a float tensor of the dialect becomes: an integer tensor and what its numbers stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir

from hqc.errors import UnsupportedModelError
from hqc.passes.graph import GraphBuilder, constant, unsupported
from hqc.passes.infer_ranges import RANGE

BITS, SCHEME = "hqc.bits", "hqc.scheme"
"""Metadata keys of an initializer of weight codes: how a code is stored."""


@dataclass(frozen=True)
class Weights:
    """Quantized weights: codes, integers as floats, times scale (a number or one per `axis`)."""

    codes: np.ndarray
    scale: np.ndarray
    axis: int
    bits: int
    scheme: str

    def per_channel(self, axis: int) -> bool:
        """Whether the scale varies along no axis but this one."""
        return self.scale.size == 1 or self.axis == axis

    def transposed(self, perm: list[int]) -> Weights:
        """The same weights with their axes permuted."""
        return replace(self, codes=self.codes.transpose(perm), axis=perm.index(self.axis))


@dataclass(frozen=True)
class Quantity:
    """The float tensor is `value` * scale + offset, with low <= value <= high, all proven.

    `scale`, `offset`, `low` and `high` are numbers or vectors along `axis`. `weights` is the
    initializer of the codes that `value` was summed from, whose output channels are along
    `weights_axis`; it lets a channel of negative scale be negated.
    """

    value: ir.Value
    scale: np.ndarray
    offset: np.ndarray
    low: np.ndarray
    high: np.ndarray
    axis: int = 0
    weights: ir.Value | None = None
    weights_axis: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""
        return tuple(self.value.shape.numpy())

    @property
    def is_plain(self) -> bool:
        """Whether the float tensor is the integers times one positive number."""
        return self.scale.ndim == 0 and self.scale > 0 and not np.any(self.offset)


@dataclass
class Lowering:
    """A model on its way from floats to integers; rules read and extend it.

    `signs` holds, for codes that neurons have read, the sign that each channel was multiplied by.
    """

    builder: GraphBuilder
    mode: str
    time_steps: int
    env: dict[ir.Value, Quantity | Weights] = field(default_factory=dict)
    logits: dict[ir.Value, ir.Value] = field(default_factory=dict)
    signs: dict[ir.Value, np.ndarray] = field(default_factory=dict)

    def quantity(self, node: ir.Node, index: int) -> Quantity:
        """The node's input as a quantity. Raises `UnsupportedModelError` if it is none."""
        value = node.inputs[index]
        found = self.env.get(value)
        if isinstance(found, Quantity):
            return found
        if value in self.logits:
            raise unsupported(
                node,
                f"reads {value.name!r}, the output of the classifier",
                "the classifier must be the last layer",
            )
        raise unsupported(
            node,
            f"its input {value.name!r} is in floats",
            "put a QuantUniform on the input of the network, and LIF neurons between layers",
        )

    def activation(self, node: ir.Node, value: ir.Value, scale: float = 1.0) -> Quantity:
        """The quantity of a node's output that infer-ranges has proven to be an integer."""
        note = node.outputs[0].metadata_props.get(RANGE)
        if note is None:
            raise unsupported(
                node, "the range of its output is not known", "run infer-ranges before make-integer"
            )
        value.metadata_props[RANGE] = note
        zero = np.float64(0)
        return Quantity(value, np.float64(scale), zero, np.int64(0), np.int64(note))

    def weights(self, node: ir.Node, index: int) -> Weights | None:
        """The node's input as quantized weights, None if it is no weights at all.

        Raises `UnsupportedModelError` for weights without a quantizer.
        """
        value = node.inputs[index]
        found = self.env.get(value)
        if found is None and constant(value) is not None:
            raise unsupported(
                node,
                "its weights are float32",
                "give the layer a quantizer (hqc.quantize.apply_recipe) and train it in",
            )
        return found if isinstance(found, Weights) else None


Rule = Callable[[ir.Node, Lowering], "Quantity | Weights | None"]

_RULES: dict[tuple[str, str], Rule] = {}


def rule(*op_types: str, domain: str = "") -> Callable[[Rule], Rule]:
    """Register the decorated function as the lowering of those ops."""

    def register(function: Rule) -> Rule:
        for op_type in op_types:
            _RULES[domain, op_type] = function
        return function

    return register


def find_rule(node: ir.Node) -> Rule:
    """The rule of a node. Raises `UnsupportedModelError`, naming what can be lowered."""
    try:
        return _RULES[node.domain, node.op_type]
    except KeyError:
        known = ", ".join(sorted(op_type for _, op_type in _RULES))
        raise UnsupportedModelError(
            f"node {node.name!r}: hqc has no integer lowering for "
            f"{node.domain + '::' if node.domain else ''}{node.op_type}",
            hint=f"it lowers: {known}; see docs/extending.md for adding a rule",
        ) from None
