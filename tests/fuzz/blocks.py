"""What is added up: shortcuts, and two layers of neurons on the same potentials."""

from __future__ import annotations

import math
from dataclasses import replace

from tests.fuzz.layers import conv, linear
from tests.fuzz.net import Net, Tensor, fires, layer
from tests.fuzz.neurons import lif, neurons
from tests.fuzz.pools import reduced


@layer(lambda net, x: len(_partners(net, x)) > 0, 4)
def residual(net: Net, x: Tensor) -> Tensor:
    """The sum with an earlier tensor of the same size."""
    other = net.pick(*_partners(net, x))
    return add(net, x, other)


def _partners(net: Net, x: Tensor) -> list[Tensor]:
    """Earlier tensors of as many time steps, channels and positions, the latest first."""
    if x.layout == "vector":
        return [t for t in net.tensors[::-1] if t.shape == x.shape and t.name != x.name]
    return [
        t
        for t in net.tensors[::-1]
        if t.name != x.name
        and t.layout != "vector"
        and _size(t) == _size(x)
        and "frames" not in (t.kind, x.kind)
    ] + [
        t
        for t in net.tensors[:1]
        if t.name != x.name and x.kind == "spikes" and x.layout == "image" and _size(t) == _size(x)
    ]


def _size(x: Tensor) -> tuple:
    return x.shape[0], x.channels, x.positions


def add(net: Net, x: Tensor, other: Tensor) -> Tensor:
    """The sum of two tensors of one size."""
    if x.layout != "vector":
        other = net.as_layout(other, x.layout)
    pair = (x.name, other.name) if net.chance(50) else (other.name, x.name)
    kind = "spikes" if {x.kind, other.kind} <= {"spikes", "frames"} else "potentials"
    return net.tensor(net.op("Add", *pair), kind, x, high=x.high + other.high)


@layer(lambda net, x: x.kind == "potentials")
def two_neurons(net: Net, x: Tensor) -> Tensor:
    """Two layers of neurons on the same potentials, and the sum of their spikes."""
    return add(net, neurons(net, x), neurons(net, x))


@layer(lambda net, x: fires(x) and x.layout != "vector" and net.depth == 0, 3)
def block(net: Net, x: Tensor) -> Tensor:
    """A shortcut around a layer and its neurons; both before the sum, or the neurons first."""
    return _shortcut(net, x)


@layer(lambda net, x: x.kind == "potentials" and x.layout != "vector" and net.depth == 0, 3)
def membrane_block(net: Net, x: Tensor) -> Tensor:
    """A membrane shortcut: neurons, then a layer, whose potentials are added."""
    return _shortcut(net, x)


def _shortcut(net: Net, x: Tensor) -> Tensor:
    net.depth += 1
    y = lif(net, x) if x.kind == "potentials" else x
    y = conv(net, y, x.channels, same=True) if net.chance(60) else linear(net, y, x.channels)
    y = lif(net, y) if x.kind == "spikes" else y
    net.depth -= 1
    return add(net, net.as_layout(y, x.layout), x)


@layer(lambda net, x: x.kind != "frames" and x.layout != "vector", 3)
def spread(net: Net, x: Tensor) -> Tensor:
    """The sum with one that has size 1 along some axes, or is in another order."""
    kind, high = x.kind, 2 * x.high
    if net.chance(25):  # rows and columns, or two axes as long, change places
        pairs = [(i, j) for i in range(2, len(x.shape)) for j in range(i + 1, len(x.shape))]
        alike = [(i, j) for i, j in pairs if x.shape[i] == x.shape[j] > 1]
        if alike:
            i, j = net.pick(*alike)
            perm = list(range(len(x.shape)))
            perm[i], perm[j] = j, i
            name = net.op("Add", x.name, net.transpose(x.name, *perm))
            return net.tensor(name, kind, x, high=high)
    if net.chance(40):
        axis = net.pick(*range(2, len(x.shape)))
        start = net.number(0, x.shape[axis] - 1)
        other = net.op("Slice", x.name, net.ints(start), net.ints(start + 1), net.ints(axis))
    else:
        sums = net.chance(50)
        other, axes = reduced(net, x.name, sums, keepdims=1)
        kind = kind if sums else "potentials"
        high = x.high * (1 + math.prod(x.shape[a] for a in axes))
        if net.chance(30):
            small = net.of(other, kind, high)
            other, kind = neurons(net, replace(small, kind="potentials")).name, x.kind
            high = 255
    pair = (x.name, other) if net.chance(50) else (other, x.name)
    return net.tensor(net.op("Add", *pair), kind, x, high=high)
