"""Layers with weights: convolutions, linear layers, of whole images, along lines."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tests.fuzz.net import Net, Tensor, layer


@layer(lambda net, x: x.kind != "potentials", 4)
def conv(net: Net, x: Tensor, channels: int | None = None, same: bool = False) -> Tensor:
    """A convolution, with BatchNorm or without."""
    x = net.as_image(x)
    steps, _, inputs, *size = x.shape
    out = channels or (inputs if net.chance(40) else out_channels(net, x))
    square = net.pick(1, 3, 3, 2, 5, 7)
    kernel = [square, square] if net.chance(80) else [net.pick(1, 2, 3, 4), net.pick(1, 3, 5, 6)]
    attributes: dict = {}
    dilations = [1, 1]
    if net.rarely("dilations") and not same:
        dilations = [net.pick(1, 2), 2]
        attributes["dilations"] = dilations
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    if same:
        kernel = [k | 1 for k in kernel]
        pads = [k // 2 for k in kernel] * 2
    else:
        pads = pads_for(net, size, reach)
        strides = net.pick([1, 1], [1, 1], [2, 2], [1, 2], [3, 2])
        if strides != [1, 1] or net.chance(30):
            attributes["strides"] = strides
    if net.chance(30) or any(pads):
        attributes["pads"] = pads
    if net.rarely("auto_pad") and not same and dilations == [1, 1]:
        attributes.pop("pads", None)
        if any(s > k for s, k in zip(attributes.get("strides", [1, 1]), kernel, strict=True)):
            del attributes["strides"]
        attributes["auto_pad"] = net.pick("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET")
        if attributes["auto_pad"] in ("VALID", "NOTSET") and any(
            k > s for k, s in zip(kernel, size, strict=True)
        ):
            attributes["auto_pad"] = "SAME_UPPER"
    group = 1
    if channels is None and ((net.chance(15) and x.kind != "frames") or net.rarely("groups")):
        group, out = inputs, inputs
        if net.rarely("groups"):
            out = inputs * net.pick(1, 2)
            group = net.pick(inputs, *(g for g in (2, 3, 4) if inputs % g == 0 == out % g))
    if group > 1:
        attributes["group"] = group
    name = net.view(x.name, (steps, inputs, *size))
    if net.chance(8) and not same:
        name = net.op("Pad", name, net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)))
    gain = net.gain()
    weights = net.weights((out, inputs // group, *kernel), 0, gain)
    bias = net.bias(out, gain * net.rms(x))
    if net.chance(70):
        attributes["kernel_shape"] = kernel
    name = net.op("Conv", name, weights, *([bias] if bias else []), **attributes)
    if net.chance(50):
        name = net.batch_norm(name)
    *_, height, width = net.shape(name)
    name = net.view(name, (steps, 1, out, height, width))
    return net.tensor(name, "potentials", x, (height, width))


def out_channels(net: Net, x: Tensor) -> int:
    """How many a layer gives; at times as many as x has along another axis."""
    sizes = [n for n in (*x.positions, math.prod(x.positions)) if 1 < n < 100]
    if sizes and net.chance(20):
        return net.pick(*sizes)
    return net.pick(4, 1, 2, 3, 5, 8, 16, 31, 32, 32, 33, 64, 64, 65)


def pads_for(net: Net, size: Sequence[int], kernel: Sequence[int]) -> list[int]:
    """Padding with which the window fits: as much as keeps the size, none, or any."""
    style = net.pick("same", "same", "none", "any")
    most = [k - 1 for k in kernel]
    if style == "none" and all(k <= n for k, n in zip(kernel, size, strict=True)):
        return [0, 0, 0, 0]
    if style == "any":
        pads = [net.number(0, m) for m in most * 2]
        if all(n + pads[i] + pads[i + 2] >= kernel[i] for i, n in enumerate(size)):
            return pads
    return [m - m // 2 for m in most] + [m // 2 for m in most]


@layer(
    lambda net, x: (
        x.kind == "spikes"
        or (x.kind == "potentials" and "potentials in linear layers" in net.rare)
        or (x.kind == "frames" and "frames elsewhere" in net.rare)
    ),
    4,
    rare=["alpha, beta and transA"],
)
def linear(net: Net, x: Tensor, channels: int | None = None) -> Tensor:
    """A linear layer of tokens: Gemm of rows, or MatMul and Add."""
    x = x if x.layout == "vector" else net.as_tokens(x)
    steps, inputs = x.shape[0], x.channels
    out = channels or (inputs if net.chance(40) else out_channels(net, x))
    gain = net.gain()
    length = math.prod(x.shape[1:-1])
    if net.chance(50):
        name = net.view(x.name, (steps * length, inputs))
        attributes: dict = {}
        transposed = net.chance(70)
        shape = (out, inputs) if transposed else (inputs, out)
        if transposed or net.chance(30):
            attributes["transB"] = int(transposed)
        if net.rarely("alpha, beta and transA"):
            attributes |= net.pick({"alpha": 2.0}, {"beta": 0.5}, {"alpha": 1.0, "beta": 1.0})
            if net.chance(20):
                name = net.transpose(name, 1, 0)
                attributes["transA"] = 1
        weights = net.weights(shape, 0 if transposed else 1, gain)
        bias = net.bias(out, gain * net.rms(x))
        name = net.op("Gemm", name, weights, *([bias] if bias else []), **attributes)
    else:
        name = x.name if net.chance(50) else net.view(x.name, (steps, length, inputs))
        if net.chance(50):
            weights = net.transpose(net.weights((out, inputs), 0, gain), 1, 0)
        else:
            weights = net.weights((inputs, out), 1, gain)
        name = net.op("MatMul", name, weights)
        bias = net.bias(out, gain * net.rms(x))
        if bias:
            name = net.op("Add", *((name, bias) if net.chance(70) else (bias, name)))
    if net.chance(50):
        if net.chance(50):
            name = net.batch_norm(net.view(name, (steps * length, out)))
        else:
            moved = net.transpose(net.view(name, (steps, length, out)), 0, 2, 1)
            name = net.transpose(net.batch_norm(moved), 0, 2, 1)
    name = net.view(name, (*x.shape[:-1], out))
    return net.tensor(name, "potentials", x)


@layer(lambda net, x: x.layout != "vector" and math.prod(x.shape[2:]) < 400, 2)
def flattened(net: Net, x: Tensor) -> Tensor:
    """A linear layer of whole images, or of all tokens."""
    steps, size = x.shape[0], math.prod(x.shape[2:])
    out, gain = out_channels(net, x), net.gain()
    name = net.view(x.name, (steps, size))
    if net.chance(50):
        name = net.op("MatMul", name, net.weights((size, out), 1, gain))
    else:
        bias = net.bias(out, gain * net.rms(x))
        inputs = [name, net.weights((out, size), 0, gain), *([bias] if bias else [])]
        name = net.op("Gemm", *inputs, transB=1)
    name = net.view(name, (steps, 1, out))
    return Tensor(name, "potentials", (steps, 1, out), (1, 1))


@layer(lambda net, x: x.layout != "vector", 2, ["groups", "dilations"])
def lines(net: Net, x: Tensor) -> Tensor:
    """A convolution of one dimension: of one along tokens, of any along images of one row."""
    x = net.as_image(x)
    steps, _, inputs, height, width = x.shape
    kernel = net.pick(1, 3, 2) if height == 1 else 1
    attributes: dict = {"pads": [kernel // 2, kernel // 2]} if kernel > 1 else {}
    if kernel > 1 and net.chance(30):
        attributes |= {"dilations": [2], "pads": [kernel - 1, kernel - 1]}
    out, gain = out_channels(net, x), net.gain()
    flat = net.view(x.name, (steps, inputs, height * width))
    bias = net.bias(out, gain * net.rms(x))
    inputs_ = [flat, net.weights((out, inputs, kernel), 0, gain), *([bias] if bias else [])]
    name = net.op("Conv", *inputs_, **attributes)
    if net.chance(50):
        name = net.batch_norm(name)
    length = net.shape(name)[2]
    positions = (height, width) if length == height * width else (1, length)
    name = net.view(name, (steps, 1, out, *positions))
    return net.tensor(name, "potentials", x, positions)


@layer(lambda net, x: x.kind == "potentials")
def chained_conv(net: Net, x: Tensor) -> Tensor:
    """A convolution of potentials."""
    return conv(net, x)
