"""Views move the integers as they moved the floats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from hqc.passes.axes import Axes, reshape, spell, that_reshapes
from hqc.passes.graph import ints, mixes_time, unsupported
from hqc.passes.integer_rules.quantity import Lowering, Quantity, Weights, channel_axis
from hqc.passes.integer_rules.registry import rule


def _breaks_channels(x: Quantity, view: Axes) -> bool:
    """Whether x has numbers by channel that a view, without an axis of them, leaves no place for.

    As potentials of one unit it has none.
    """
    by_channel = x.scale.ndim > 0 or x.offset.ndim > 0
    return x.channels > 1 and by_channel and channel_axis(view) is None


def regarded_as(x: Quantity, view: Axes) -> Quantity:
    """x under other axes. What differs by channel needs an axis that is the channels."""
    x = replace(x, view=view)
    if x.channels == 1 or channel_axis(view) is not None:
        return x
    return replace(x, low=x.low.min(), high=x.high.max(), error=np.max(x.error))


@rule("Identity", "Dropout", attributes=("seed",))
def lower_identity(node: ir.Node, lowering: Lowering) -> Quantity | Weights:
    """Nothing is left of it; a Dropout that trains is refused."""
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        training = lowering.constant(node, 2)
        if np.any(training):
            raise unsupported(node, "it is in training mode", "export the model in eval mode")
    found = lowering.env.get(node.inputs[0])
    return found if isinstance(found, Weights) else lowering.quantity(node, 0)


@rule("Transpose", attributes=("perm",))
def lower_transpose(node: ir.Node, lowering: Lowering) -> Quantity | Weights:
    """The same permutation; of weights, it is done now."""
    perm = ints(node, "perm", range(len(node.outputs[0].shape))[::-1])
    found = lowering.env.get(node.inputs[0])
    if isinstance(found, Weights):
        return found.transposed(perm)
    x = lowering.quantity(node, 0)
    if _breaks_channels(x, tuple(x.view[axis] for axis in perm)):
        x = lowering.potentials(node, 0)
    return permuted(node, lowering, x, perm)


def permuted(
    node: ir.Node, lowering: Lowering, x: Quantity, perm: list[int], what: str = ""
) -> Quantity:
    """x with its axes permuted; `what` names that where it is only a part of what a node does."""
    if not perm:
        return x  # a single number
    moved = regarded_as(x, tuple(x.view[axis] for axis in perm))
    name = f"{node.name}/{what}" if what else node.name
    shape = [x.shape[axis] for axis in perm]
    return lowering.emit(
        node, "Transpose", [x.value], moved, x.value.dtype, name=name, shape=shape, perm=perm
    )


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze", attributes=("allowzero", "axis"))
def lower_reshape(node: ir.Node, lowering: Lowering) -> Quantity | Weights:
    """A Reshape to the static shape; axes are followed through it. Of weights, it is done now.

    Where it mixes parts of axes, all but time are taken as channels, in the order they lie in.
    """
    shape = node.outputs[0].shape.numpy()
    found = lowering.env.get(node.inputs[0])
    if isinstance(found, Weights):
        weights = found.reshaped(shape)
        if weights is None:
            raise unsupported(
                node,
                f"it splits or merges the axis of {found.scale.size} scales of weights of shape "
                f"{list(found.codes.shape)}",
                "give their quantizer one scale, or view them before it",
            )
        return weights
    x = lowering.quantity(node, 0)
    own = that_reshapes(x.view, shape)
    if own != x.view:
        if x.kind in ("frames", "sums") or x.scale.ndim or x.offset.ndim:
            x = lowering.potentials(node, 0)
        x = x.under(own)
    view = reshape(own, shape)
    if view is not None and _breaks_channels(x, view):
        x = lowering.potentials(node, 0)
    return reshaped(node, lowering, x, shape)


def reshaped(
    node: ir.Node, lowering: Lowering, x: Quantity, shape: Sequence[int], what: str = ""
) -> Quantity:
    """x in another shape, for a node; its axes are followed. `what` is as in `permuted`."""
    view = reshape(x.view, shape)
    if view is None:
        raise mixes_time(
            node,
            f"its input's axes, [{spell(x.view)}] of {list(x.shape)}, cannot be followed to "
            f"{list(shape)}: time steps would be mixed with parts of others",
            "keep time an axis of its own, and put it first",
        )
    name = f"{node.name}/{what}" if what else node.name
    target = lowering.builder.initializer(np.array(shape, np.int64), f"{name}.shape")
    inputs, moved = [x.value, target], regarded_as(x, view)
    return lowering.emit(node, "Reshape", inputs, moved, x.value.dtype, name=name, shape=shape)
