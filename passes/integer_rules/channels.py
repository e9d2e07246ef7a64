"""Parts of a tensor are taken; several are put into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from hqc.passes.axes import axes as axes_of
from hqc.passes.axes import resized, size_of, spell, time_in
from hqc.passes.graph import integer, mixes_time, unsupported
from hqc.passes.integer_rules.quantity import Lowering, Quantity, channel_axis
from hqc.passes.integer_rules.registry import rule
from hqc.passes.integer_rules.views import reshaped


@rule("Slice")
def lower_slice(node: ir.Node, lowering: Lowering) -> Quantity:
    """Any part of channels, positions or time steps, in steps forward or back."""
    x = lowering.quantity(node, 0)
    if x.kind in ("sums", "frames"):
        x = lowering.potentials(node, 0)
    starts, ends, axes, steps = (lowering.constant(node, i) for i in range(1, 5))
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    parts = sorted(
        zip(axes, starts, ends, steps, strict=True),
        key=lambda part: "T" not in {f.root for f in x.view[int(part[0])]},
    )
    if len(parts) > 1 and not x.is_plain:  # each is a part of what the one before left
        x = lowering.potentials(node, 0)
    for axis, *part in parts:
        axis = int(axis) % len(x.shape)
        taken = range(x.shape[axis])[slice(*(int(n) for n in part))]
        if int(part[2]) < 0 and int(part[1]) < -x.shape[axis]:  # to the first of all, backwards
            taken = range(x.shape[axis])[int(part[0]) :: int(part[2])]
        if taken == range(x.shape[axis]):
            continue
        if len(taken) == 1 and x.view[axis] == axes_of(("T", size_of(x.view, "T")))[0]:
            x = _step(node, lowering, x, axis, taken)
        else:
            x = _part(node, lowering, x, axis, taken)
    return x


@rule("Gather", attributes=("axis",))
def lower_gather(node: ir.Node, lowering: Lowering) -> Quantity:
    """Channels, positions or time steps in any order, some of them, or some more than once."""
    x = lowering.quantity(node, 0)
    if x.kind in ("sums", "frames"):
        x = lowering.potentials(node, 0)
    indices, axis = lowering.constant(node, 1), integer(node, "axis", 0) % len(x.shape)
    if indices.ndim != 1:
        raise unsupported(
            node,
            f"its indices, of shape {list(indices.shape)}, are no list",
            "run canonicalize before",
        )
    return _part(node, lowering, x, axis, [int(i) % x.shape[axis] for i in indices])


def _step(node: ir.Node, lowering: Lowering, x: Quantity, axis: int, taken: range) -> Quantity:
    """What one time step gives, as the last one of a network that is read there."""
    if x.kind in ("spikes", "levels"):
        x = lowering.potentials(node, 0)
    view = tuple(() if i == axis else f for i, f in enumerate(x.view))
    return _sliced(node, lowering, x, replace(_whole(x), view=view), axis, taken)


def _part(
    node: ir.Node, lowering: Lowering, x: Quantity, axis: int, taken: Sequence[int]
) -> Quantity:
    why = f"it takes {len(taken)} of {x.shape[axis]} along axis {axis} of [{spell(x.view)}]"
    if not taken:
        raise unsupported(node, why)
    if "T" in {f.root for f in x.view[axis]}:
        raise mixes_time(node, why)
    view = resized(x.view, axis, len(taken))
    if x.is_channels(axis):

        def some(numbers: np.ndarray) -> np.ndarray:
            return numbers[list(taken)] if np.size(numbers) > 1 else numbers

        like = replace(x, scale=some(x.scale), offset=some(x.offset), error=some(x.error))
        like = replace(_whole(like), view=view)
    else:
        if x.channel_axis is None and (x.scale.ndim > 0 or x.offset.ndim > 0):
            x = lowering.potentials(node, 0)
        like = _whole(x).under(view)
    return _sliced(node, lowering, x, like, axis, taken)


def _sliced(
    node: ir.Node, lowering: Lowering, x: Quantity, like: Quantity, axis: int, taken: Sequence[int]
) -> Quantity:
    """The integers of x at those indices of an axis; `like` says what they are."""
    shape = [len(taken) if i == axis else n for i, n in enumerate(x.shape)]
    if not isinstance(taken, range):
        places = lowering.builder.initializer(np.array(taken, np.int64), f"{node.name}.indices")
        inputs, dtype = [x.value, places], x.value.dtype
        return lowering.emit(node, "Gather", inputs, like, dtype, shape=shape, axis=axis)
    end = taken.stop if taken.stop >= 0 else -x.shape[axis] - 1
    numbers = (("start", taken.start), ("end", end), ("axis", axis), ("step", taken.step))
    constants = [
        lowering.builder.initializer(np.array([number], np.int64), f"{node.name}.{name}")
        for name, number in numbers
    ]
    inputs = [x.value, *constants]
    return lowering.emit(node, "Slice", inputs, like, x.value.dtype, shape=shape)


def _whole(x: Quantity) -> Quantity:
    """x with one interval for all channels, and without the codes that its channels are."""
    return replace(x, low=np.min(x.low), high=np.max(x.high), weights=None)


@rule("Concat", attributes=("axis",))
def lower_concat(node: ir.Node, lowering: Lowering) -> Quantity:
    """Several tensors, one after the other along channels, positions or time."""
    parts = [lowering.quantity(node, i) for i in range(len(node.inputs))]
    axis = integer(node, "axis", 0) % len(parts[0].shape)
    spikes = all(x.kind in ("spikes", "levels") and x.is_bytes for x in parts)
    if not spikes or len({float(x.scale) for x in parts}) > 1:
        parts = [lowering.potentials(node, i) for i in range(len(node.inputs))]
    times = {time_in(x.view) for x in parts}
    if len(times) > 1 or any(found[axis] for found in times):
        views = "] and [".join(dict.fromkeys(spell(x.view) for x in parts))
        raise mixes_time(node, f"it joins tensors along axis {axis} of [{views}]")
    joined = _whole(parts[0])
    for number, x in enumerate(parts[1:], 2):
        last = number == len(parts)
        size = joined.shape[axis] + x.shape[axis]
        shape = [size if i == axis else n for i, n in enumerate(x.shape)]
        view = resized(joined.view, axis, size)
        error = np.max([np.max(q.error) for q in (joined, x)])
        if channel_axis(view) == axis and x.is_channels(axis):
            errors = [np.broadcast_to(q.error, q.shape[axis]) for q in (joined, x)]
            error = np.concatenate(errors)
        kind = "levels" if "levels" in (joined.kind, x.kind) else x.kind
        like = replace(
            _whole(x),
            kind=kind,
            view=view,
            low=np.minimum(joined.low.min(), x.low.min()),
            high=max(joined.high.max(), x.high.max()),
            error=error,
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


@rule("Expand")
def lower_expand(node: ir.Node, lowering: Lowering) -> Quantity:
    """A tensor repeated along channels or positions."""
    x = lowering.quantity(node, 0)
    if not x.is_plain or x.kind in ("sums", "frames"):
        x = lowering.potentials(node, 0)
    return repeated(node, lowering, x, tuple(node.outputs[0].shape.numpy()))


def of_one_shape(
    node: ir.Node, lowering: Lowering, a: Quantity, b: Quantity
) -> tuple[Quantity, Quantity]:
    """Two operands, times one number each, repeated to the node's shape, under the axes of one."""
    shape = tuple(node.outputs[0].shape.numpy())
    if a.shape != shape and b.shape == shape:
        b, a = of_one_shape(node, lowering, b, a)
        return a, b
    if size_of(a.view, "T") != size_of(b.view, "T"):
        raise mixes_time(
            node,
            f"it joins what time steps gave together with each of them, [{spell(a.view)}] and "
            f"[{spell(b.view)}]",
        )
    a, b = (repeated(node, lowering, x, shape) for x in (a, b))
    if time_in(a.view) != time_in(b.view):
        raise mixes_time(
            node,
            f"its inputs have time along other axes, [{spell(a.view)}] and [{spell(b.view)}]",
            "permute one of them before",
        )
    return a, b.under(a.view)


def repeated(node: ir.Node, lowering: Lowering, x: Quantity, shape: tuple[int, ...]) -> Quantity:
    """x in a shape that it is broadcast to."""
    if x.shape == shape:
        return x
    if len(x.shape) < len(shape):
        x = reshaped(node, lowering, x, (1,) * (len(shape) - len(x.shape)) + x.shape, "rank")
    view = x.view
    for axis, (old, new) in enumerate(zip(x.shape, shape, strict=True)):
        view = view if old == new else resized(view, axis, new)
    target = lowering.builder.initializer(np.array(shape, np.int64), f"{node.name}.shape")
    return lowering.emit(
        node,
        "Expand",
        [x.value, target],
        _whole(x).under(view),
        x.value.dtype,
        name=f"{node.name}/Expand",
        shape=shape,
    )
