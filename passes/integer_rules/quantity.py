"""What a float tensor of the dialect becomes: an integer tensor and what its numbers stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.dialect.rescale import LARGEST
from hqc.errors import UnsupportedModelError
from hqc.passes.axes import VIEWS
from hqc.passes.graph import GraphBuilder, constant, unsupported
from hqc.passes.infer_ranges import RANGE

_LIMIT = 128
"""Where the potentials of a branch saturate: far above any threshold, with room to add up many."""

BITS, SCHEME = "hqc.bits", "hqc.scheme"
"""Metadata keys of an initializer of weight codes: how a code is stored."""

WIDE = "hqc.wide"
"""Metadata key of sums that need more than 32 bits."""


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
    def reach(self) -> int:
        """The largest magnitude of the integers."""
        return int(max(np.abs(self.low).max(), np.abs(self.high).max()))

    @property
    def is_small(self) -> bool:
        """Whether the integers are spikes, sums of spikes or frames, that fit a byte."""
        unsigned = not np.any(self.low < 0) and not np.any(self.high > 255)
        return self.is_plain and (unsigned or self.value.dtype == ir.DataType.INT8)

    @property
    def can_be_thresholded(self) -> bool:
        """Whether neurons can read the integers as they are: 32 bits, of positive scale."""
        narrow = self.value.dtype != ir.DataType.INT64
        return narrow and (self.scale.ndim == 0 or self.weights is not None)

    @property
    def is_plain(self) -> bool:
        """Whether the float tensor is the integers times one positive number."""
        return self.scale.ndim == 0 and self.scale > 0 and not np.any(self.offset)


class PotentialOverflowError(Exception):
    """Membrane potentials leave 32 bits; with fewer fractional bits they may not."""

    def __init__(self, node: ir.Node) -> None:
        super().__init__(node.name)
        self.node = node


@dataclass
class Lowering:
    """A model on its way from floats to integers; rules read and extend it.

    Membrane potentials that layers add up or share are integers in units of 2^-`unit_bits`.
    `signs` holds, for codes that were read, the sign that each channel was multiplied by.
    """

    builder: GraphBuilder
    mode: str
    time_steps: int
    unit_bits: int
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

    def weights(self, node: ir.Node, index: int) -> Weights | np.ndarray | None:
        """The node's input as quantized weights, an array of float ones, None if it is neither."""
        value = node.inputs[index]
        found = self.env.get(value)
        if found is None:
            return constant(value)
        return found if isinstance(found, Weights) else None

    def potentials(self, node: ir.Node, index: int) -> Quantity:
        """The node's input as potentials in the network's unit, computed once for all readers."""
        value = node.inputs[index]
        x = self.quantity(node, index)
        if not self.are_potentials(x):
            unit = 2.0**-self.unit_bits
            self.env[value] = x = rescaled(node, x, self, unit, int(_LIMIT / unit))
        return x

    def are_potentials(self, x: Quantity) -> bool:
        """Whether x is in the unit of potentials."""
        return x.is_plain and x.scale == 2.0**-self.unit_bits


def rescaled(
    node: ir.Node, x: Quantity, lowering: Lowering, unit: float, limit: int = LARGEST
) -> Quantity:
    """x as 32-bit integers times `unit`, saturating at `limit`, whatever its channels' scales were.

    The multiplier has as many bits as 64-bit products leave room for; rounding is to nearest.
    """
    channels = max(x.scale.size, x.offset.size)
    scale, offset, low, high = (
        np.broadcast_to(a, channels) for a in (x.scale / unit, x.offset / unit, x.low, x.high)
    )
    if x.weights is not None:
        sign = lowering.signs.setdefault(x.weights, np.ones(channels, np.int8))
        if np.any((sign == 0) & (scale != 0)):
            raise unsupported(
                node,
                "it shares its sums with neurons for which a channel has scale 0",
                "give it a convolution or linear layer of its own",
            )
        scale = scale * sign
        low, high = np.minimum(low * sign, high * sign), np.maximum(low * sign, high * sign)
    reach = np.maximum(np.abs(low), np.abs(high)) * np.abs(scale) + np.abs(offset)
    limits = (2**31 / max(np.abs(scale).max(), 2**-31), 2**61 / max(reach.max(), 1))
    shift = min(int(np.floor(np.log2(min(limits)) - 1e-6)), 62)
    if shift < 1:
        raise unsupported(node, f"its potentials reach {float(reach.max() * unit):.3g}")
    multiplier = np.round(scale * 2.0**shift).astype(np.int64)
    bias = np.round(offset * 2.0**shift).astype(np.int64) + (1 << (shift - 1))
    ends = [(end * multiplier + bias) >> shift for end in (low, high)]
    source = x.value.producer()
    while source.op_type in VIEWS:
        source = source.inputs[0].producer()
    name = f"{source.name}/Rescale"
    trailing = [1] * (len(x.shape) - 1 - x.axis) if channels > 1 else []
    value = lowering.builder.op(
        "Rescale",
        [
            x.value,
            lowering.builder.initializer(
                multiplier.astype(np.int32).reshape([-1, *trailing]), f"{name}.multiplier"
            ),
            lowering.builder.initializer(bias.reshape([-1, *trailing]), f"{name}.bias"),
        ],
        x.shape,
        ir.DataType.INT32,
        name=name,
        domain=DIALECT,
        shift=shift,
        limit=limit,
    )
    least, most = np.minimum(*ends).min(), np.maximum(*ends).max()
    low, high = (np.clip(end, -limit, limit) for end in (least, most))
    return Quantity(value, np.float64(unit), np.float64(0), low, high)


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
