"""Time steps that are mixed: parts of them, layers, windows and attention over time; gates."""

from __future__ import annotations

import math

import numpy as np

from tests.fuzz.attention import branch
from tests.fuzz.layers import conv, linear
from tests.fuzz.layouts import part
from tests.fuzz.net import Net, Tensor, fires, layer
from tests.fuzz.neurons import neurons

_STEPS = 16
"""Time steps that a tensor has at most."""


def _readable(net: Net, x: Tensor) -> bool:
    return x.kind != "frames" or "frames elsewhere" in net.rare


def _kind(x: Tensor) -> str:
    return "potentials" if x.kind == "frames" else x.kind


@layer(_readable, 2)
def some_steps(net: Net, x: Tensor) -> Tensor:
    """Some of the steps, in any order, or more than once."""
    steps = x.shape[0]
    if net.chance(50):
        return net.tensor(part(net, x.name, 0), _kind(x), x, high=x.high)
    taken = [net.number(0, steps - 1) for _ in range(net.number(1, min(steps + 2, _STEPS)))]
    return net.tensor(net.op("Gather", x.name, net.ints(*taken), axis=0), _kind(x), x, high=x.high)


@layer(lambda net, x: _readable(net, x) and x.shape[0] < _STEPS)
def joined(net: Net, x: Tensor) -> Tensor:
    """The steps of two tensors, one after the other."""
    fitting = [
        t
        for t in net.tensors
        if (t.shape[1:], t.kind) == (x.shape[1:], x.kind) and t.shape[0] + x.shape[0] <= _STEPS
    ]
    other = net.pick(x, *fitting)
    name = net.op("Concat", x.name, other.name, axis=0)
    return net.tensor(name, _kind(x), x, high=max(x.high, other.high))


@layer(_readable, 2)
def of_each_step(net: Net, x: Tensor) -> Tensor:
    """Times, or plus, numbers that differ by step, and at times by channel."""
    by_channel = net.chance(30)
    shape = [n if i == 0 or (by_channel and i == x.axis) else 1 for i, n in enumerate(x.shape)]
    size = net.rms(x) if x.kind == "potentials" else 1.0
    op_type = net.pick("Mul", "Add", "Div", "Sub")
    numbers = net.rng().normal(size=shape)
    if op_type in ("Mul", "Div"):
        numbers = np.where(numbers < 0, -1.0, 1.0) * (np.abs(numbers) + 0.2)
        size = 1.0
    constant = net.constant((numbers * size).astype(np.float32))
    return net.tensor(net.op(op_type, x.name, constant), "potentials", x)


@layer(lambda net, x: _readable(net, x) and x.shape[0] > 1)
def with_all_steps(net: Net, x: Tensor) -> Tensor:
    """Each step less a part of what all of them give together."""
    axes = net.ints(0)
    op_type = net.pick("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")
    together = net.op(op_type, x.name, axes, keepdims=1)
    if net.chance(50):
        together = net.op("Mul", together, net.constant(np.float32(net.pick(0.5, -0.3, 0.25))))
    return net.tensor(net.op(net.pick("Sub", "Add"), x.name, together), "potentials", x)


@layer(_readable, 3)
def layer_over_time(net: Net, x: Tensor) -> Tensor:
    """Weights of steps by steps, before or behind, as of parallel spiking neurons."""
    steps = x.shape[0]
    made = net.pick(steps, steps, net.number(1, 6))
    rest = (made, *x.shape[1:])
    flat = net.view(x.name, (steps, math.prod(x.shape[1:])))
    style = net.pick("before", "gemm", "behind")
    if style == "behind":
        turned = net.transpose(flat, 1, 0)
        y = net.op("MatMul", turned, net.weights((steps, made), 1, net.gain()))
        y = net.transpose(y, 1, 0)
    else:
        weights = net.weights((made, steps), 0, net.gain())
        inputs = [weights, flat]
        if style == "gemm":
            biases = net.rng().normal(size=(made, 1)) * net.pick(0.3, 0.0)
            inputs.append(net.constant(biases.astype(np.float32)))
        y = net.op("Gemm" if style == "gemm" else "MatMul", *inputs)
    return net.tensor(net.view(y, rest), "potentials", x)


@layer(lambda net, x: _readable(net, x) and x.layout != "vector")
def convolution_over_time(net: Net, x: Tensor) -> Tensor:
    """A window of steps, of all channels, or of each."""
    x = net.as_image(x)
    steps, _, channels, height, width = x.shape
    y = net.view(net.transpose(x.name, 1, 3, 4, 2, 0), (height * width, channels, steps))
    kernel = net.pick(*(k for k in (3, 1, 2) if k <= steps + 2))
    groups = net.pick(1, channels)
    weights = net.weights((channels, channels // groups, kernel), 0, net.gain())
    pads = [kernel // 2, kernel // 2]
    y = net.op("Conv", y, weights, pads=pads, group=groups)
    made = net.shape(y)[-1]
    y = net.transpose(net.view(y, (1, height, width, channels, made)), 4, 0, 3, 1, 2)
    return net.tensor(y, "potentials", x)


@layer(lambda net, x: fires(x) and x.layout != "vector", 2)
def attention_over_time(net: Net, x: Tensor) -> Tensor:
    """(Q K^T) V, or Q (K^T V), over the steps of each token, or the tokens of some steps."""
    x = net.as_tokens(x)
    q, k, v = (branch(net, x, "tokens", high=255) for _ in range(3))
    steps, _, length, channels = x.shape
    chunk = net.pick(*(c for c in (2, 3, 1, steps) if steps % c == 0))
    heads = net.pick(*(h for h in (1, 2, 3) if channels % h == 0))
    split = (steps // chunk, chunk, length, heads, channels // heads)
    if net.chance(50):  # of each token
        perm, sizes = (0, 2, 3, 1, 4), (steps // chunk, length, heads, chunk, -1)
    else:
        perm, sizes = (0, 3, 1, 2, 4), (steps // chunk, heads, chunk * length, -1)
    q, k, v = (
        net.view(net.transpose(net.view(f.name, split), *perm), (*sizes[:-1], channels // heads))
        for f in (q, k, v)
    )
    rank = len(sizes)
    k = net.transpose(k, *range(rank - 2), rank - 1, rank - 2)
    if net.chance(50):
        y = net.op("MatMul", net.op("MatMul", q, k), v)
    else:
        y = net.op("MatMul", q, net.op("MatMul", k, v))
    y = net.op("Mul", y, net.constant(np.float32(net.pick(0.125, 0.3))))
    moved = [split[i] for i in perm]
    y = net.transpose(net.view(y, moved), *np.argsort(perm).tolist())
    made = net.tensor(net.view(y, x.shape), "potentials", x)
    return neurons(net, made) if net.chance(80) else made


@layer(_readable, 2)
def compared(net: Net, x: Tensor) -> Tensor:
    """A comparison, as a number, with a constant or another tensor."""
    data = net.data[x.name]
    op_type = net.pick("GreaterOrEqual", "Greater", "Less", "LessOrEqual")
    others = [t.name for t in net.tensors if t.shape == x.shape and t.name != x.name]
    if others and net.chance(30):
        other = net.pick(*others)
    else:
        level = np.float32(np.quantile(data, net.pick(0.7, 0.5, 0.9)))
        other = net.constant(np.float32(net.pick(level, 0.0)))
    pair = (x.name, other) if net.chance(70) else (other, x.name)
    fired = net.op(op_type, *pair)
    if net.chance(70):
        return net.tensor(net.op("Cast", fired, to=1), "spikes", x)
    numbers = (net.constant(np.float32(n)) for n in (net.pick(1.0, 0.5), net.pick(0.0, -1.0)))
    return net.tensor(net.op("Where", fired, *numbers), "potentials", x)


@layer(lambda net, x: _readable(net, x) and x.layout == "image")
def volume(net: Net, x: Tensor) -> Tensor:
    """A window of time, height and width."""
    steps, _, channels, height, width = x.shape
    y = net.transpose(x.name, 1, 2, 0, 3, 4)
    kernel = [net.pick(*(k for k in (2, 1, 3) if k <= n)) for n in (steps, height, width)]
    pads = [net.pick(0, k // 2) for k in kernel] * 2
    strides = [net.pick(1, 1, 2) for _ in kernel]
    places = {"kernel_shape": kernel, "pads": pads, "strides": strides}
    op_type = net.pick("Conv", "MaxPool", "AveragePool")
    if op_type == "Conv":
        groups = net.pick(1, channels)
        shape = (channels, channels // groups, *kernel)
        y = net.op("Conv", y, net.weights(shape, 0, net.gain()), group=groups, **places)
    else:
        y = net.op(op_type, y, **places)
    kind = _kind(x) if op_type == "MaxPool" else "potentials"
    return net.of(net.transpose(y, 2, 0, 1, 3, 4), kind, x.high)


@layer(_readable, 2)
def gated(net: Net, x: Tensor) -> Tensor:
    """Element by element, what a layer gives times spikes, sums of them, or where none are."""
    if x.layout == "vector":
        return neurons(net, x)
    gate = branch(net, x, x.layout, high=255)
    y = branch(net, x, x.layout, high=255) if net.chance(20) else layered(net, x)
    if net.chance(25) and gate.high == 1:
        gate_name = net.op("Sub", net.constant(np.float32(1)), gate.name)
    else:
        gate_name = gate.name
    pair = (y.name, gate_name) if net.chance(50) else (gate_name, y.name)
    return net.tensor(net.op("Mul", *pair), "potentials", x)


def layered(net: Net, x: Tensor) -> Tensor:
    """Potentials of as many channels and positions as x."""
    if x.layout == "image":
        return net.as_image(conv(net, x, x.channels, same=True))
    return net.as_tokens(linear(net, x, x.channels))
