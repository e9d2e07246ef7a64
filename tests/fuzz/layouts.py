"""Parts that are taken, flipped, joined, repeated, and axes that are split and rearranged."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from tests.fuzz.constants import constant_operand, norm
from tests.fuzz.layers import conv
from tests.fuzz.net import Net, Tensor, layer
from tests.fuzz.neurons import integer_neurons, lif
from tests.fuzz.pools import average_pool, max_pool

MOST = 6000
"""Numbers of a time step, beyond which nothing is repeated or joined."""

CHANNELS = 130
"""Channels that a rearranged tensor may have."""

_ENDS = 2**63 - 1, -(2**63)


def bounds(net: Net, size: int) -> tuple[int, int, int]:
    """Where a part of an axis starts and ends, and its step: as it may be written."""
    step = net.pick(1, 1, 2, -1, 3, -2)
    if step == -1 and net.chance(50):
        return net.pick(-1, size - 1, size + 3), net.pick(-size - 1, _ENDS[1]), step
    start = net.number(0, size - 1)
    if step > 0:
        end = net.number(start + 1, size)
        written = [end, _ENDS[0] if end == size else end - size]
    else:
        end = net.number(-1, start - 1)
        written = [end, end - size] if end >= 0 else [-size - 1, _ENDS[1]]
    start = start if net.chance(70) else start - size
    return start, written[0] if net.chance(70) else written[1], step


def part(net: Net, name: str, *axes: int) -> str:
    """A part of a value along axes, by one of the ops that take one."""
    shape = net.shape(name)
    if len(axes) == 1 and net.chance(15):
        return _gathered(net, name, axes[0])
    if len(axes) == 1 and net.chance(15) and shape[axes[0]] > 1:
        return _of_split(net, name, axes[0])
    starts, ends, steps = zip(*(bounds(net, shape[a]) for a in axes), strict=True)
    places = [a - len(shape) if net.chance(30) else a for a in axes]
    inputs = [net.ints(*starts), net.ints(*ends), net.ints(*places)]
    if set(steps) != {1} or net.chance(30):
        inputs.append(net.ints(*steps))
    return net.op("Slice", name, *inputs)


def _gathered(net: Net, name: str, axis: int) -> str:
    """Indices in a row, or one, whose axis is put back."""
    shape = net.shape(name)
    start = net.number(0, shape[axis] - 1)
    if net.chance(50):
        taken = net.op("Gather", name, net.constant(np.int64(start)), axis=axis)
        return net.view(taken, [1 if i == axis else n for i, n in enumerate(shape)])
    end = net.number(start + 1, shape[axis])
    return net.op("Gather", name, net.ints(*range(start, end)), axis=axis)


def _of_split(net: Net, name: str, axis: int) -> str:
    """One of two outputs of a Split, as a Split whose other output nobody reads."""
    size = net.shape(name)[axis]
    first = net.number(1, size - 1)
    return net.split(name, (first, size - first), axis, net.pick(0, 1))


@layer(lambda net, x: max(x.shape[2:]) > 1, 6, ["odd views"])
def taken(net: Net, x: Tensor) -> Tensor:
    """A part of channels, positions or both, in steps forward or back."""
    long = [i for i in range(2, len(x.shape)) if x.shape[i] > 1]
    axes = [net.pick(*long)]
    if len(long) > 1 and net.chance(30):
        axes.append(net.pick(*(i for i in long if i not in axes)))
    name = part(net, x.name, *axes)
    if axes == [x.axis]:
        return net.tensor(name, x.kind, x, high=x.high)
    return net.of(name, x.kind, x.high)


@layer(lambda net, x: math.prod(x.shape[2:]) < MOST // 2, 4)
def joined(net: Net, x: Tensor) -> Tensor:
    """Several tensors, or parts of them, one after the other along channels or positions."""
    axis = x.axis if net.chance(50) else net.pick(*range(2, len(x.shape)))
    parts = [x.name]
    spikes, high = x.kind == "spikes", x.high
    for _ in range(net.pick(1, 1, 2)):
        other = net.pick(*_neighbours(net, x, axis))
        spikes, high = spikes and other.kind == "spikes", max(high, other.high)
        name = other.name if x.layout == "vector" else net.as_layout(other, x.layout).name
        if net.chance(50) and net.shape(name)[axis] > 1:
            name = part(net, name, axis)
        parts.insert(net.pick(0, len(parts)), name)
    axis_ = axis - len(x.shape) if net.chance(20) else axis
    name, kind = net.op("Concat", *parts, axis=axis_), "spikes" if spikes else "potentials"
    if axis == x.axis:
        return net.tensor(name, kind, x, high=high)
    return net.of(name, kind, high)


def _neighbours(net: Net, x: Tensor, axis: int) -> list[Tensor]:
    """Tensors that can be put beside x along the axis: of the same size along all others."""
    found = [x]
    for t in net.tensors[::-1]:
        if t.kind == "frames" or (t.layout == "vector") != (x.layout == "vector"):
            continue
        if t.shape[0] != x.shape[0]:
            continue
        shape = {
            "image": (t.channels, *t.positions),
            "tokens": (math.prod(t.positions), t.channels),
            "vector": (t.channels,),
        }[x.layout]
        pairs = list(zip(shape, x.shape[2:], strict=True))
        alike = all(a == b for i, (a, b) in enumerate(pairs, 2) if i != axis)
        if alike and sum(pairs[axis - 2]) < 200 and math.prod(shape) < MOST // 2:
            found.append(t)
    return found


@layer(lambda net, x: max(x.shape[2:]) > 1, 2)
def rolled(net: Net, x: Tensor) -> Tensor:
    """The end of an axis put before its start."""
    axis = net.pick(*(i for i in range(2, len(x.shape)) if x.shape[i] > 1))
    at = net.number(1, x.shape[axis] - 1)
    axes = net.ints(axis)
    last = net.op("Slice", x.name, net.ints(at), net.ints(_ENDS[0]), axes)
    first = net.op("Slice", x.name, net.ints(0), net.ints(at), axes)
    return net.tensor(net.op("Concat", last, first, axis=axis), x.kind, x, high=x.high)


@layer(lambda net, x: math.prod(x.shape[2:]) < MOST // 3, 3)
def repeated(net: Net, x: Tensor) -> Tensor:
    """Every index of an axis several times, in turn or one by one; or an axis of size 1."""
    axis = net.pick(*range(2, len(x.shape)))
    times, inside = net.pick(2, 3), net.chance(50)
    size = x.shape[axis]
    pair = (size, 1) if inside else (1, size)
    split = net.view(x.name, (*x.shape[:axis], *pair, *x.shape[axis + 1 :]))
    target = list(net.shape(split))
    target[axis + inside] = times
    if net.chance(40):  # a target of ones keeps what there is
        target = [n if i == axis + inside else 1 for i, n in enumerate(target)]
    target = target[axis + inside :] if net.chance(20) else target
    name = net.op("Expand", split, net.ints(*target))
    name = net.view(name, (*x.shape[:axis], size * times, *x.shape[axis + 1 :]))
    if axis == x.axis:
        return net.tensor(name, x.kind, x, high=x.high)
    return net.of(name, x.kind, x.high)


def factors(net: Net, sizes: Sequence[int], percent: int = 40) -> list[int]:
    """The sizes of axes, some of which are split in two."""
    split: list[int] = []
    for n in sizes:
        divisors = [d for d in range(2, n) if n % d == 0]
        if divisors and net.chance(percent):
            d = net.pick(*divisors)
            split += [d, n // d]
        else:
            split.append(n)
    return split


@layer(lambda net, x: x.layout != "vector", 4, ["odd views"])
def rearranged(net: Net, x: Tensor) -> Tensor:
    """Axes split, permuted and merged: patches as channels, shuffled channels, rows first."""
    steps = x.shape[0]
    parts = factors(net, x.shape[2:])
    perm = net.draw(st.permutations(range(len(parts))))
    moved = [parts[i] for i in perm]
    style = net.pick("as it was", "image", "image", "tokens")
    if style == "as it was":
        shape: tuple[int, ...] = x.shape[2:]
    else:
        cuts = sorted(net.number(0, len(moved)) for _ in range(2 if style == "image" else 1))
        ends = zip([0, *cuts], [*cuts, len(moved)], strict=True)
        shape = tuple(math.prod(moved[a:b]) for a, b in ends)
    if shape[0 if style == "image" or x.layout == "image" else -1] > CHANNELS:
        return x
    name = net.view(x.name, (steps, 1, *parts)) if tuple(parts) != x.shape[2:] else x.name
    name = net.transpose(name, 0, 1, *(i + 2 for i in perm))
    name = net.view(name, (steps, 1, *shape))
    return net.of(name, x.kind, x.high)


@layer(lambda net, x: x.layout == "image" and x.channels < CHANNELS, 4)
def turned(net: Net, x: Tensor) -> Tensor:
    """A layer along axes that were permuted, and the way back."""
    perm = net.pick((0, 1, 3, 2, 4), (0, 1, 2, 4, 3), (0, 1, 4, 3, 2), (0, 1, 3, 4, 2))
    back = [perm.index(i) for i in range(5)]
    moved = net.of(net.transpose(x.name, *perm), x.kind, x.high)
    if moved.channels > CHANNELS:
        return x
    inner = [max_pool, average_pool, norm, constant_operand, integer_neurons, lif]
    inner += [conv] if moved.channels > 1 else []
    y = net.pick(*inner)(net, moved)
    if y.layout != "image" or net.chance(20):
        return y
    return net.of(net.transpose(y.name, *back), y.kind, y.high)
