"""Channels, or a time step, are taken from a tensor; the channels of several put into one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from hqc.passes.axes import Axes, Factor, size_of, spell
from hqc.passes.graph import integer, unsupported
from hqc.passes.integer_rules.quantity import Lowering, Quantity, rule


@rule("Slice")
def lower_slice(node: ir.Node, lowering: Lowering) -> Quantity:
    """A block of channels, or of a part of them that is outermost, as q of q, k and v is."""
    x = lowering.quantity(node, 0)
    if x.kind in ("sums", "frames"):
        x = lowering.potentials(node, 0)
    starts, ends, axes, steps = (lowering.constant(node, i) for i in range(1, 5))
    axes = range(len(starts)) if axes is None else axes
    if steps is not None and np.any(steps != 1):
        raise unsupported(
            node, f"it takes steps of {steps.tolist()}", "take whole blocks of channels"
        )
    whole_time = (Factor("T", lowering.time_steps),)
    for axis, start, end in zip(axes, starts, ends, strict=True):
        axis = int(axis) % len(x.shape)
        size = x.shape[axis]
        start, end = (min(max(int(i) + size * (i < 0), 0), size) for i in (start, end))
        if (start, end) == (0, size):
            continue
        if end - start == 1 and x.view[axis] == whole_time:
            x = _step(node, lowering, x, axis, start)
        else:
            x = _part(node, lowering, x, axis, start, end)
    return x


def _step(node: ir.Node, lowering: Lowering, x: Quantity, axis: int, step: int) -> Quantity:
    """What one time step gives, as the last one of a network that is read there."""
    if x.kind in ("spikes", "levels"):
        x = lowering.potentials(node, 0)
    view = tuple(() if i == axis else f for i, f in enumerate(x.view))
    return _sliced(node, lowering, x, replace(_whole(x), view=view), axis, step, step + 1)


def _part(
    node: ir.Node, lowering: Lowering, x: Quantity, axis: int, start: int, end: int
) -> Quantity:
    whole = size_of(x.view, "C")
    factors = x.view[axis]
    if len(factors) != 1 or factors[0].root != "C" or factors[0].size * factors[0].stride != whole:
        raise unsupported(
            node,
            f"it takes {start} to {end - 1} along axis {axis} of [{spell(x.view)}]",
            "take blocks of channels; time and position are lowered whole",
        )
    stride = factors[0].stride
    some = (Factor("C", end - start, stride),) if end - start > 1 else ()
    view = tuple(some if i == axis else f for i, f in enumerate(x.view))

    def taken(numbers: np.ndarray) -> np.ndarray:
        return numbers[start * stride : end * stride] if np.size(numbers) > 1 else numbers

    part = replace(
        _whole(x), view=view, scale=taken(x.scale), offset=taken(x.offset), error=taken(x.error)
    )
    return _sliced(node, lowering, x, part, axis, start, end)


def _sliced(
    node: ir.Node, lowering: Lowering, x: Quantity, like: Quantity, axis: int, start: int, end: int
) -> Quantity:
    """The integers of x from start to end along an axis; `like` says what they are."""
    constants = [
        lowering.builder.initializer(np.array([number], np.int64), f"{node.name}.{name}")
        for name, number in (("start", start), ("end", end), ("axis", axis))
    ]
    shape = [end - start if i == axis else n for i, n in enumerate(x.shape)]
    inputs = [x.value, *constants]
    return lowering.emit(node, "Slice", inputs, like, x.value.dtype, shape=shape)


def _whole(x: Quantity) -> Quantity:
    """x with one interval for all channels, and without the codes that its channels are."""
    return replace(x, low=np.min(x.low), high=np.max(x.high), weights=None)


@rule("Concat", attributes=("axis",))
def lower_concat(node: ir.Node, lowering: Lowering) -> Quantity:
    """The channels of several tensors, one after the other."""
    parts = [lowering.quantity(node, i) for i in range(len(node.inputs))]
    axis = integer(node, "axis", 0) % len(parts[0].shape)
    if any(not x.is_channels(axis) for x in parts):
        views = ", ".join(f"[{spell(x.view)}]" for x in parts)
        raise unsupported(
            node,
            f"it joins tensors of the axes {views} along axis {axis}, which is not the channels",
            "join channels; time and position are lowered whole",
        )
    spikes = all(x.kind in ("spikes", "levels") and x.is_bytes for x in parts)
    if not spikes or len({float(x.scale) for x in parts}) > 1:
        parts = [lowering.potentials(node, i) for i in range(len(node.inputs))]
    if len({_others(x.view, axis) for x in parts}) > 1:
        views = ", ".join(f"[{spell(x.view)}]" for x in parts)
        raise unsupported(node, f"it joins tensors that differ in their axes, {views}")
    joined = _whole(parts[0])
    for number, x in enumerate(parts[1:], 2):
        last = number == len(parts)
        channels = joined.shape[axis] + x.shape[axis]
        shape = [channels if i == axis else n for i, n in enumerate(x.shape)]
        view = tuple((Factor("C", channels),) if i == axis else f for i, f in enumerate(x.view))
        errors = [np.broadcast_to(q.error, q.shape[axis]) for q in (joined, x)]
        high = max(joined.high.max(), x.high.max())
        kind = "levels" if "levels" in (joined.kind, x.kind) else x.kind
        like = replace(
            _whole(x),
            kind=kind,
            view=view,
            low=np.minimum(joined.low.min(), x.low.min()),
            high=high,
            error=np.concatenate(errors),
        )
        joined = lowering.emit(
            node,
            "Concat",
            [joined.value, x.value],
            like,
            x.value.dtype,
            name=node.name if last else f"{node.name}/{number}",
            shape=shape,
            axis=axis,
        )
    return joined


def _others(view: Axes, axis: int) -> Axes:
    return tuple(f for i, f in enumerate(view) if i != axis)
