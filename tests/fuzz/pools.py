"""The largest, the mean or the sum of windows, of positions, and of parts of any axes."""

from __future__ import annotations

import math

import numpy as np

from tests.fuzz.layers import pads_for
from tests.fuzz.net import Net, Tensor, layer


@layer(
    lambda net, x: x.layout != "vector",
    3,
    rare=["auto_pad", "ceil_mode", "dilations"],
)
def max_pool(net: Net, x: Tensor) -> Tensor:
    """The largest of a window."""
    x = net.as_image(x)
    steps, _, channels, *size = x.shape
    kernel = net.pick([2, 2], [3, 3], [1, 2], [3, 2], [1, 1])
    attributes: dict = {"kernel_shape": kernel}
    strides = net.pick([2, 2], [1, 1], [1, 2], [3, 3])
    if strides != [1, 1] or net.chance(30):
        attributes["strides"] = strides
    dilations = [1, 1]
    if net.rarely("dilations"):
        attributes["dilations"] = dilations = net.pick([2, 2], [1, 2])
    if net.rarely("auto_pad") and all(s <= k for s, k in zip(strides, kernel, strict=True)):
        attributes["auto_pad"] = net.pick("SAME_UPPER", "SAME_LOWER")
    else:
        pads = pads_for(
            net, size, [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
        )
        pads = [min(p, kernel[i % 2] - 1) for i, p in enumerate(pads)]
        grown = [n + pads[i] + pads[i + 2] for i, n in enumerate(size)]
        if any(n < d * (k - 1) + 1 for n, k, d in zip(grown, kernel, dilations, strict=True)):
            return x
        if any(pads) or net.chance(30):
            attributes["pads"] = pads
    if net.rarely("ceil_mode"):
        attributes["ceil_mode"] = 1
    name = net.op("MaxPool", net.view(x.name, (steps, channels, *size)), **attributes)
    positions = net.shape(name)[2:]
    name = net.view(name, (steps, 1, channels, *positions))
    return net.tensor(name, x.kind, x, positions, x.high)


@layer(lambda net, x: x.layout == "image", 2, ["ceil_mode"])
def average_pool(net: Net, x: Tensor) -> Tensor:
    """The mean of a window, or of all positions."""
    steps, _, channels, *size = x.shape
    flat = net.view(x.name, (steps, channels, *size))
    if net.chance(25):
        name = net.op("GlobalAveragePool", flat)
    else:
        kernel = net.pick([2, 2], [1, 2], [3, 3], [1, 1])
        attributes: dict = {"kernel_shape": kernel, "strides": net.pick([1, 1], [2, 2], [1, 2])}
        if net.chance(40):
            attributes |= {"pads": [k // 2 for k in kernel] * 2}
            attributes |= {"count_include_pad": net.pick(1, 0)}
        room = 2 * int("pads" in attributes)
        grown = [n + room * (k // 2) for n, k in zip(size, kernel, strict=True)]
        if any(k > n for k, n in zip(kernel, grown, strict=True)):
            return x
        if net.rarely("ceil_mode"):
            attributes["ceil_mode"] = 1
        name = net.op("AveragePool", flat, **attributes)
    positions = net.shape(name)[2:]
    name = net.view(name, (steps, 1, channels, *positions))
    return net.tensor(name, "potentials", x, positions)


@layer(lambda net, x: x.layout != "vector")
def mean_over_positions(net: Net, x: Tensor) -> Tensor:
    """The mean or the sum over all positions."""
    op_type = net.pick("ReduceMean", "ReduceSum")
    axes = [2] if x.layout == "tokens" else [3, 4]
    axes = [a - len(x.shape) for a in axes] if net.chance(30) else axes
    keep = int(net.chance(30))
    name = net.op(op_type, x.name, net.constant(np.array(axes, np.int64)), keepdims=keep)
    return net.tensor(name, "potentials", x, (1, 1))


@layer(lambda net, x: x.layout != "vector", 4)
def some_axes(net: Net, x: Tensor) -> Tensor:
    """The mean or the sum over any of channels and positions, or over parts of them."""
    split, groups = split_axes(net, x)
    sums = net.chance(50)
    name, axes = reduced(net, split, sums)
    kept = [math.prod(1 if i in axes else n for i, n in group) for group in groups]
    high = x.high * math.prod(net.shape(split)[a] for a in axes)
    kind = "spikes" if sums and x.kind == "spikes" else "potentials"
    return net.of(net.view(name, (x.shape[0], 1, *kept)), kind, high)


def split_axes(net: Net, x: Tensor) -> tuple[str, list[list[tuple[int, int]]]]:
    """The tensor with some axes split in two; of every axis of x, its parts' places and sizes."""
    groups: list[list[tuple[int, int]]] = []
    place = 2
    for n in x.shape[2:]:
        divisors = [d for d in range(2, n) if n % d == 0]
        d = net.pick(*divisors) if divisors and net.chance(30) else 0
        sizes = [d, n // d] if d else [n]
        groups.append(list(enumerate(sizes, place)))
        place += len(sizes)
    sizes = [n for group in groups for _, n in group]
    return net.view(x.name, (x.shape[0], 1, *sizes)), groups


def reduced(net: Net, name: str, sums: bool, keepdims: int | None = None) -> tuple[str, list[int]]:
    """The sum or the mean over any axes behind time, and which they are."""
    rank = len(net.shape(name))
    axes = [i for i in range(2, rank) if net.chance(40)] or [net.pick(*range(2, rank))]
    written = [a - rank for a in axes] if net.chance(30) else axes
    keepdims = int(net.chance(50)) if keepdims is None else keepdims
    op_type = "ReduceSum" if sums else "ReduceMean"
    return net.op(op_type, name, net.ints(*written), keepdims=keepdims), axes
