"""Constants move into scale and offset; residual sums become integer sums.

Sums of spikes stay small integers; a membrane shortcut adds potentials in fixed point.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from hqc.dialect.intervals import INT32
from hqc.passes.axes import named, spell
from hqc.passes.graph import constant, integer, mixes_time, unsupported
from hqc.passes.integer_rules.channels import of_one_shape
from hqc.passes.integer_rules.positions import add_by_position
from hqc.passes.integer_rules.quantity import (
    Lowering,
    PotentialOverflowError,
    Quantity,
    rescaled,
)
from hqc.passes.integer_rules.registry import rule

_BYTE = 255


def _with_constant(node: ir.Node, lowering: Lowering) -> tuple[int, np.ndarray] | None:
    """The operand that is no constant, and the other as a constant of its rank."""
    for index, other in ((0, 1), (1, 0)):
        array = constant(node.inputs[other])
        if array is None:
            continue
        x = lowering.quantity(node, index)
        if array.ndim > len(x.shape):
            raise unsupported(
                node,
                f"its constant, of shape {list(array.shape)}, has more axes than its input, of "
                f"shape {list(x.shape)}",
                "run canonicalize before",
            )
        wide = np.asarray(array, np.float64).reshape(
            (1,) * (len(x.shape) - array.ndim) + array.shape
        )
        return index, wide
    return None


def _is_by_channel(x: Quantity, wide: np.ndarray) -> bool:
    """Whether a constant is one number, or one a channel."""
    long = [axis for axis, size in enumerate(wide.shape) if size > 1]
    return not long or long == [x.channel_axis]


def _along_channels(node: ir.Node, x: Quantity, wide: np.ndarray) -> np.ndarray:
    """A constant of the input's rank as a number, or one a channel."""
    if not _is_by_channel(x, wide):
        raise unsupported(
            node,
            f"its constant, of shape {list(wide.shape)}, varies along axes other than the channels "
            f"of its input, whose axes are [{spell(x.view)}]",
            "run canonicalize before",
        )
    return wide.reshape(-1) if wide.size > 1 else np.float64(wide.item())


@rule("Mul", "Div")
def lower_multiplication(node: ir.Node, lowering: Lowering) -> Quantity:
    """Times or over a constant: into the scale. Of activations: one of them is spikes, or sums."""
    found = _with_constant(node, lowering)
    if found is None and node.op_type == "Mul":
        return _both_fire(node, lowering)
    if found is None or (node.op_type == "Div" and constant(node.inputs[1]) is None):
        raise unsupported(
            node, f"it divides by {node.inputs[1].name!r}, which is computed, not a constant"
        )
    x = lowering.quantity(node, found[0])
    long = [axis for axis, size in enumerate(found[1].shape) if size > 1]
    if any("T" in {f.root for f in x.view[axis]} for axis in long):
        raise mixes_time(
            node,
            f"its constant, of shape {list(found[1].shape)}, differs by time step",
            "let it be the same at every step",
        )
    if len(long) == 1 and x.channel_axis != long[0]:
        x = lowering.regarded(node, found[0], named(x.view, long))
    factor = _along_channels(node, x, found[1])
    if node.op_type == "Div":
        if not np.all(factor):
            zeros = factor.size - np.count_nonzero(factor)
            raise unsupported(node, f"{zeros} of the {factor.size} numbers it divides by are 0")
        factor = 1 / factor
    return scaled(x, factor)


def scaled(x: Quantity, factor: np.ndarray) -> Quantity:
    """The quantity times a number, or times one a channel."""
    error = x.error * np.abs(factor)
    return replace(x, scale=x.scale * factor, offset=x.offset * factor, error=error)


@rule("BatchNormalization", attributes=("epsilon", "momentum", "training_mode"))
def lower_batch_norm(node: ir.Node, lowering: Lowering) -> Quantity:
    """Its multiplication and addition by channel move into scale and offset."""
    x = lowering.quantity(node, 0)
    factor, term = (a.astype(np.float64) for a in batch_norm(node))
    if not x.is_channels(1):
        x = lowering.regarded(node, 0, named(x.view, [1]))
    normalized = scaled(x, factor)
    return replace(normalized, offset=normalized.offset + term)


def batch_norm(node: ir.Node) -> tuple[np.ndarray, np.ndarray]:
    """BatchNormalization(x) = x * a + b: a and b, float64, one a channel.

    a = gamma / sqrt(variance + epsilon), b = beta - mean * a. Raises `UnsupportedModelError` for
    parameters that are computed, for training mode, and where variance + epsilon is not positive.
    """
    parameters = [constant(v) for v in node.inputs[1:5]]
    training = integer(node, "training_mode", 0)
    if any(p is None for p in parameters) or training:
        raise unsupported(
            node,
            "it is in training mode" if training else "its parameters are computed by the graph",
            "export the model in eval mode",
        )
    gamma, beta, mean, variance = (p.astype(np.float64) for p in parameters)
    epsilon = node.attributes["epsilon"].value if "epsilon" in node.attributes else 1e-5
    spread = variance + np.float64(np.float32(epsilon))
    if not np.all(spread > 0):
        bad = np.flatnonzero(~(spread > 0))
        raise unsupported(
            node,
            f"the variance of channel {bad[0]} is {variance[bad[0]]:g}, with epsilon "
            f"{spread[bad[0]]:g} ({bad.size} of {spread.size} channels are not above 0)",
            "a variance is never negative: was the checkpoint damaged, or epsilon set to 0?",
        )
    scale = gamma / np.sqrt(spread)
    return scale, beta - mean * scale


def _both_fire(node: ir.Node, lowering: Lowering) -> Quantity:
    a, b = (lowering.quantity(node, i) for i in (0, 1))
    for fires, silent in ((a, b), (b, a)):
        if fires.kind == "spikes" and fires.is_bytes and _is_where_none(silent):
            return _only_one_fires(node, lowering, fires, silent)
    if {a.kind, b.kind} != {"spikes"} or not (a.is_bytes and b.is_bytes):
        return _gated(node, lowering, a, b)
    shape = tuple(node.outputs[0].shape.numpy())
    like, mask = (a, b) if a.shape == shape else (b, a)
    everywhere = tuple(() if {f.root for f in axis} <= {"Y", "X"} else axis for axis in like.view)
    if like.shape != shape or mask.view != everywhere:
        like, mask = of_one_shape(node, lowering, like, mask)
    product = replace(like, scale=a.scale * b.scale)
    return lowering.emit(node, "BitwiseAnd", [like.value, mask.value], product, ir.DataType.UINT8)


def _gated(node: ir.Node, lowering: Lowering, a: Quantity, b: Quantity) -> Quantity:
    """Potentials, or sums of spikes, times spikes, or sums of them; or times 1 - spikes."""
    for x, gate, index in ((a, b, 0), (b, a, 1)):
        if _is_where_none(gate):
            gate = replace(gate, scale=np.float64(1), offset=np.float64(0))
            x, made = _times(node, lowering, x, index, gate, "where it fires")
            gone = replace(made, scale=-made.scale)
            gone = rescaled(node, gone, lowering, float(x.scale))
            return _added(node, lowering, x, gone)
        if gate.kind in ("spikes", "levels") and gate.is_bytes:
            return _times(node, lowering, x, index, gate)[1]
    raise unsupported(
        node,
        f"it multiplies {a.spelled} and {b.spelled}; one of two activations must be spikes",
        "put neurons before the product of two activations",
    )


def _times(
    node: ir.Node, lowering: Lowering, x: Quantity, index: int, gate: Quantity, what: str = ""
) -> tuple[Quantity, Quantity]:
    """The node's input of that index as 32-bit potentials, and these times a gate."""
    high = int(gate.high.max())
    x = lowering.potentials(node, index)
    if x.reach * high > INT32:
        x = rescaled(node, x, lowering, float(x.scale) * 1.01 * x.reach * high / INT32)
    x, gate = of_one_shape(node, lowering, x, gate)
    made = replace(
        x,
        kind="sums",
        scale=x.scale * gate.scale,
        low=np.minimum(x.low * high, 0),
        high=np.maximum(x.high * high, 0),
        error=(x.error * high + np.max(gate.error) * x.float_reach) * gate.scale,
    )
    name = f"{node.name}/{what}" if what else node.name
    inputs = [x.value, lowering.in_words(gate, f"{name}/gate")]
    return x, lowering.emit(node, "Mul", inputs, made, ir.DataType.INT32, name=name)


def _is_where_none(x: Quantity) -> bool:
    """Whether it is 1 - spikes."""
    return (
        x.kind == "spikes" and x.scale.ndim == x.offset.ndim == 0 and (x.scale, x.offset) == (-1, 1)
    )


def _only_one_fires(
    node: ir.Node, lowering: Lowering, fires: Quantity, silent: Quantity
) -> Quantity:
    """x * (1 - y) of spikes: x XOR (x AND y)."""
    y = replace(silent, scale=np.float64(1), offset=np.float64(0))
    x, y = of_one_shape(node, lowering, fires, y)
    byte = ir.DataType.UINT8
    both = lowering.emit(node, "BitwiseAnd", [x.value, y.value], x, byte, name=f"{node.name}/both")
    return lowering.emit(node, "BitwiseXor", [x.value, both.value], x, byte)


@rule("Add", "Sub")
def lower_addition(node: ir.Node, lowering: Lowering) -> Quantity:
    """A constant moves into the offset; spikes are added as integers, potentials in one unit."""
    found = _with_constant(node, lowering)
    if found is not None:
        index, wide = found
        x = lowering.quantity(node, index)
        if node.op_type == "Sub" and constant(node.inputs[1]) is None:
            raise unsupported(
                node, f"it subtracts {x.spelled} from a constant", "run canonicalize before"
            )
        wide = -wide if node.op_type == "Sub" else wide
        if not _is_by_channel(x, wide):
            return add_by_position(node, lowering, index, wide)
        return replace(x, offset=x.offset + _along_channels(node, x, wide))
    if node.op_type == "Sub":
        raise unsupported(
            node, "it subtracts an activation from another", "run canonicalize before"
        )
    a, b = (lowering.quantity(node, i) for i in (0, 1))
    spikes = {a.kind, b.kind} <= {"spikes", "levels"} and _as_bytes(a, b)
    if not spikes:
        a, b = (lowering.potentials(node, i) for i in (0, 1))
    a, b = of_one_shape(node, lowering, a, b)
    if spikes:
        high = a.high + b.high
        total = replace(a, kind="levels", high=high)
        return lowering.emit(node, "Add", [a.value, b.value], total, ir.DataType.UINT8)
    return _added(node, lowering, a, b)


def _added(node: ir.Node, lowering: Lowering, a: Quantity, b: Quantity) -> Quantity:
    """Potentials of one unit, added up."""
    low, high = a.low + b.low, a.high + b.high
    total = replace(a, low=low, high=high, error=a.error + b.error)
    if total.reach >= 2**30:
        raise PotentialOverflowError(node, lowering.stream_of(node.outputs[0]), total.reach / 2**30)
    return lowering.emit(node, "Add", [a.value, b.value], total, ir.DataType.INT32)


def _as_bytes(a: Quantity, b: Quantity) -> bool:
    """Whether the two can be added as bytes."""
    return a.is_bytes and b.is_bytes and a.scale == b.scale and a.high + b.high <= _BYTE
