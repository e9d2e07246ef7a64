"""Masks."""

from __future__ import annotations

import math

import numpy as np

from hqc.dialect import DIALECT
from tests.fuzz.attention import branch, heads_of, merged
from tests.fuzz.layers import conv
from tests.fuzz.net import Net, Tensor, fires, layer
from tests.fuzz.neurons import lif
from tests.fuzz.pools import reduced, split_axes


@layer(lambda net, x: fires(x) and x.layout != "vector", 2)
def token_mask(net: Net, x: Tensor) -> Tensor:
    """The neurons of sums over the channels of heads, times other spikes."""
    x = net.as_image(x)
    if x.high > 1:
        x = lif(net, conv(net, x, x.channels, same=True))
    steps, _, channels, height, width = x.shape
    heads = net.pick(*(h for h in (1, 2, 3, 5) if channels % h == 0))
    shape = (steps, 1, heads, channels // heads, height * width)
    q, k = (net.view(f.name, shape) for f in (x, branch(net, x, "image", high=1)))
    axes = net.constant(np.array([net.pick(3, -2)], np.int64))
    total = net.op(net.pick("ReduceSum", "ReduceMean"), q, axes, keepdims=1)
    reached = float(net.data[total].max()) / 2 or 0.5
    mask = net.op("LIF", total, domain=DIALECT, v_threshold=float(np.float32(f"{reached:.3g}")))
    gated = net.op("Mul", *((mask, k) if net.chance(50) else (k, mask)))
    return net.tensor(net.view(gated, x.shape), "spikes", x)


@layer(lambda net, x: fires(x) and x.layout != "vector", 2, ["products of sums"])
def mask_attention(net: Net, x: Tensor) -> Tensor:
    """Q times the neurons of the sum of K V over tokens."""
    layout = net.pick(x.layout, "image", "tokens")
    high = 255 if net.rarely("products of sums") else 1
    if x.high > high:
        x = lif(net, conv(net, x, x.channels, same=True))
    q, k, v = (branch(net, x, layout, high) for _ in range(3))
    like = net.as_layout(x, layout)
    by_heads = net.chance(40)
    heads = net.pick(*(h for h in (1, 2, 3) if x.channels % h == 0))
    names = [heads_of(net, f, heads) if by_heads else f.name for f in (q, k, v)]
    axes = [3] if by_heads else [3, 4] if layout == "image" else [2]
    joined = net.op("Mul", names[1], names[2])
    total = net.op("ReduceSum", joined, net.constant(np.array(axes, np.int64)), keepdims=1)
    one = Tensor(total, "potentials", net.shape(total), (1, 1))
    attributes = {"v_threshold": net.pick(0.5, 1.0, 2.0)}
    mask = net.op("LIF", one.name, domain=DIALECT, **attributes)
    y = net.op("Mul", *((names[0], mask) if net.chance(70) else (mask, names[0])))
    name = merged(net, y, like, heads) if by_heads else y
    return net.tensor(name, "spikes", like, high=q.high)


@layer(lambda net, x: fires(x) and x.layout != "vector", 3)
def mask(net: Net, x: Tensor) -> Tensor:
    """Spikes times neurons of sums over any axes, or over parts of them; or two of these."""
    if x.high > 1:
        x = lif(net, conv(net, x, x.channels, same=True))
    other = net.as_layout(branch(net, x, x.layout, high=1), x.layout)
    split, groups = split_axes(net, other)
    shape = net.shape(split)
    factors = [gate(net, split)]
    if net.chance(30):
        factors[0] = net.op("Sub", net.constant(np.float32(1)), factors[0])
    factors.append(gate(net, split) if net.chance(30) else net.view(x.name, shape))
    name = net.op("Mul", *(factors if net.chance(50) else factors[::-1]))
    left = net.shape(name)
    kept = [math.prod(left[i] for i, _ in group) for group in groups]
    return net.of(net.view(name, (x.shape[0], 1, *kept)), "spikes")


def gate(net: Net, name: str) -> str:
    """Neurons of sums over any axes, of size 1 now; or the largest of them."""
    total, _ = reduced(net, name, net.chance(70), keepdims=1)
    reached = float(net.data[total].max()) * net.pick(0.5, 0.2, 0.9)
    reached = reached if reached > 1e-6 else 0.5
    threshold = float(np.float32(f"{reached:.3g}"))
    return net.op("LIF", total, domain=DIALECT, v_threshold=threshold)
