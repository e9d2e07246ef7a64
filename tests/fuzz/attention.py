"""Products of activations."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from hqc.dialect import DIALECT
from tests.fuzz.blocks import add
from tests.fuzz.layers import conv, linear
from tests.fuzz.net import Net, Tensor, fires, layer
from tests.fuzz.neurons import lif, neurons


def branch(net: Net, x: Tensor, layout: str, high: int) -> Tensor:
    """Spikes of as many channels and positions as x: of a layer of their own, or x itself."""
    odd = net.rarely("odd attention", 30)
    if net.chance(20) and x.high <= high and (x.layout == layout or odd):
        return net.as_layout(x, layout)
    imaged = (layout == "image") != odd
    y = conv(net, x, x.channels, same=True) if imaged else linear(net, x, x.channels)
    s = net.as_layout(neurons(net, y) if high > 1 else lif(net, y), layout)
    if net.chance(15) and high > 1:
        s = add(net, s, net.as_layout(x, layout))
    return s


@layer(lambda net, x: fires(x) and x.layout != "vector", 5, ["odd attention"])
def attention(net: Net, x: Tensor) -> Tensor:
    """Neurons of (Q K^T) V, over heads."""
    layout = net.pick(x.layout, "tokens", "image")
    q, k, v = (branch(net, x, layout, high=255) for _ in range(3))
    heads = net.pick(*(h for h in (1, 2, 3, 4, 5) if x.channels % h == 0))
    q, k, v = (heads_of(net, factor, heads) for factor in (q, k, v))
    odd = net.rarely("odd attention")
    k = k if odd and x.channels // heads == math.prod(x.positions) else swapped(net, k)
    order = net.pick("scores", "values")
    place = net.pick("after", "none", "query", "between")
    factor = net.constant(np.float32(net.pick(0.125, 0.25, 0.3)))
    if odd and net.chance(50):
        factor = net.constant(np.float32(-0.125))
    if place == "query":
        q = net.op("Mul", q, factor)
    if order == "scores":
        y = net.op("MatMul", q, k)
        y = net.op("Mul", y, factor) if place == "between" else y
        y = net.op("MatMul", y, v)
    elif net.shape(k)[-1] == net.shape(v)[-2]:
        y = net.op("MatMul", k, v)
        y = net.op("Mul", y, factor) if place == "between" else y
        y = net.op("MatMul", q, y)
    if place == "after":
        y = net.op("Mul", y, factor)
    like = net.as_layout(x, layout)
    return lif(net, net.tensor(merged(net, y, like, heads), "potentials", like))


def heads_of(net: Net, x: Tensor, heads: int) -> str:
    """Tokens by heads: [T, 1, heads, L, C / heads]."""
    steps, length, dim = x.shape[0], math.prod(x.positions), x.channels // heads
    if x.layout == "tokens":
        split = net.view(x.name, (steps, 1, length, heads, dim))
        return net.transpose(split, 0, 1, 3, 2, 4)
    name = net.view(x.name, (steps, 1, x.channels, length)) if net.chance(30) else x.name
    return net.transpose(net.view(name, (steps, 1, heads, dim, length)), 0, 1, 2, 4, 3)


def merged(net: Net, name: str, like: Tensor, heads: int) -> str:
    """Tokens by heads, in the layout of `like`."""
    perm = (0, 1, 3, 2, 4) if like.layout == "tokens" else (0, 1, 2, 4, 3)
    return net.view(net.transpose(name, *perm), like.shape)


def swapped(net: Net, name: str) -> str:
    return net.transpose(name, 0, 1, 2, 4, 3)


@dataclass(frozen=True)
class Batch:
    """Windows and heads, of which every matrix is one: [T, 1, windows, heads, tokens, channels]."""

    windows: int
    heads: int
    is_strided: bool

    def matrices(self, net: Net, x: Tensor) -> str:
        """Tokens [T, 1, L, C] as matrices; axes of size 1 may be left out."""
        steps, _, length, channels = x.shape
        inner = length // self.windows
        windows = (inner, self.windows) if self.is_strided else (self.windows, inner)
        split = (steps, 1, *windows, self.heads, channels // self.heads)
        perm = (0, 1, 3, 4, 2, 5) if self.is_strided else (0, 1, 2, 4, 3, 5)
        if self.windows == 1:
            split, perm = (steps, 1, length, self.heads, channels // self.heads), (0, 1, 3, 2, 4)
        if self.windows == self.heads == 1:
            return x.name
        return net.transpose(net.view(x.name, split), *perm)

    def tokens(self, net: Net, name: str) -> str:
        """The way back, for matrices of any size."""
        if self.windows == self.heads == 1:
            return name
        steps, (rows, columns) = net.shape(name)[0], net.shape(name)[-2:]
        if self.windows == 1:
            name = net.transpose(name, 0, 1, 3, 2, 4)
        else:
            perm = (0, 1, 4, 2, 3, 5) if self.is_strided else (0, 1, 2, 4, 3, 5)
            name = net.transpose(name, *perm)
        return net.view(name, (steps, 1, self.windows * rows, self.heads * columns))


def _batch(net: Net, x: Tensor) -> Batch:
    length = math.prod(x.positions)
    heads = net.pick(*(h for h in (1, 1, 2, 3, 5) if x.channels % h == 0))
    windows = net.pick(*(w for w in (1, 1, 1, 2, 3, 4, 7) if length % w == 0))
    return Batch(windows, heads, net.chance(30))


def _factor(net: Net, x: Tensor, may_be: bool, channels: int | None = None) -> tuple[Tensor, bool]:
    """Tokens of spikes, of sums of them, of levels, or, where they may be, of potentials."""
    if may_be and net.chance(25):
        return net.as_tokens(linear(net, x, channels or x.channels)), True
    if channels and channels != x.channels:
        return net.as_tokens(neurons(net, linear(net, x, channels))), False
    return branch(net, x, "tokens", high=255), False


@layer(lambda net, x: fires(x) and x.layout != "vector", 7, ["odd attention"])
def product(net: Net, x: Tensor) -> Tensor:
    """Products of spikes, sums and potentials, which neurons, products or layers read."""
    batch = _batch(net, x)
    wide = net.pick(x.channels, x.channels, 2 * x.channels, batch.heads)
    q, is_potentials = _factor(net, x, True)
    k, others = _factor(net, x, not is_potentials or net.rarely("odd attention"))
    is_potentials = is_potentials or others
    v, _ = _factor(net, x, not is_potentials or net.rarely("odd attention"), wide)
    q, k, v = (batch.matrices(net, f) for f in (q, k, v))
    rank = len(net.shape(q))
    if net.chance(30) and net.shape(k)[-2] > 1:  # k and v of fewer tokens, or in another order
        start, step = net.pick((0, 2), (1, 2), (1, 1), (-1, -1), (0, 3))
        cut = [net.ints(n) for n in (start, 2**63 - 1 if step > 0 else -(2**63), rank - 2, step)]
        k, v = (net.op("Slice", f, *cut) for f in (k, v))
    style = net.pick("both", "scores", "channels", "neurons between", "values first")
    if style == "channels":
        y = _scaled(net, net.op("MatMul", _turned(net, k), v))
    elif style == "values first":
        y = net.op("MatMul", q, _scaled(net, net.op("MatMul", _turned(net, k), v)))
    else:
        y = _scaled(net, net.op("MatMul", q, _turned(net, k)))
        if style == "neurons between":
            y = _fired(net, y).name
        if style != "scores":
            y = _scaled(net, net.op("MatMul", y, v))
    if net.chance(20):
        fired = _fired(net, y)
        return net.of(batch.tokens(net, fired.name), "spikes", fired.high)
    made = net.of(batch.tokens(net, y), "potentials")
    if made.shape[2:] == (math.prod(x.positions), x.channels):
        made = replace(made, positions=x.positions)
    return neurons(net, made) if net.chance(70) else made


def _turned(net: Net, name: str) -> str:
    rank = len(net.shape(name))
    return net.transpose(name, *range(rank - 2), rank - 1, rank - 2)


def _scaled(net: Net, name: str) -> str:
    if net.chance(50):
        return name
    return net.op("Mul", name, net.constant(np.float32(net.pick(0.125, 0.25, 0.3, 0.047))))


def _fired(net: Net, name: str) -> Tensor:
    """Neurons on a value whose axes need not be those of tokens."""
    shape = net.shape(name)
    x = Tensor(name, "potentials", shape, (1, 1))
    if len(shape) <= 5:
        return neurons(net, x)
    reached = float(np.quantile(net.data[name], net.pick(0.7, 0.9, 0.99))) or 0.5
    threshold = max(float(np.float32(f"{reached:.3g}")), 1e-3)
    name = net.op("LIF", name, domain=DIALECT, v_threshold=threshold)
    return replace(x, name=name, kind="spikes")
