"""Ops that are written as others: rectifiers, padding, other sizes, largest along axes, tiles."""

from __future__ import annotations

import math

import numpy as np

from tests.fuzz.layers import out_channels
from tests.fuzz.layouts import MOST
from tests.fuzz.net import Net, Tensor, layer
from tests.fuzz.pools import split_axes


@layer(lambda net, x: x.kind != "frames" or "frames elsewhere" in net.rare, 4)
def rectified(net: Net, x: Tensor) -> Tensor:
    """What is linear in pieces."""
    data, rng = net.data[x.name], net.rng()
    size = max(float(np.abs(data).max()), 0.1)
    inputs, attributes = [x.name], {}
    op_type = net.pick("Abs", "LeakyRelu", "PRelu", "Clip", "HardSigmoid", "Max", "Min", "Neg")
    if op_type == "LeakyRelu" and net.chance(70):
        attributes["alpha"] = net.pick(0.1, 0.5, 0.0, -0.3, 2.0)
    if op_type == "HardSigmoid" and net.chance(70):
        attributes |= {"alpha": net.pick(0.25, 1.0) / size, "beta": net.pick(0.5, 0.25)}
    if op_type == "PRelu":
        by_channel = [n if i == x.axis else 1 for i, n in enumerate(x.shape)]
        slopes = rng.uniform(-0.5, 1, net.pick(by_channel, [1] * len(x.shape)))
        inputs.append(net.constant(slopes.astype(np.float32)))
    if op_type == "Clip":
        low, high = np.sort(rng.uniform(-size, size, 2)).astype(np.float32)
        given = net.pick((low, high), (low, None), (None, high), (np.float32(0), high))
        inputs += [net.constant(end) if end is not None else "" for end in given]
    if op_type in ("Max", "Min"):
        level = rng.uniform(-size, size) * net.pick(0.5, 1.5)
        inputs.insert(net.pick(1, 0), net.constant(np.float32(level)))
        if net.chance(40):
            inputs = [x.name, net.pick(*(t.name for t in net.tensors if t.shape == x.shape))]
    return net.tensor(net.op(op_type, *inputs, **attributes), "potentials", x)


@layer(lambda net, x: True)
def added_up(net: Net, x: Tensor) -> Tensor:
    """The sum or the mean of up to three tensors of one shape."""
    alike = [t.name for t in net.tensors if t.shape == x.shape]
    names = [x.name, *(net.pick(*alike) for _ in range(net.pick(1, 2)))]
    return net.tensor(net.op(net.pick("Sum", "Mean"), *names), "potentials", x)


@layer(lambda net, x: math.prod(x.shape[2:]) < MOST // 4, 3)
def padded(net: Net, x: Tensor) -> Tensor:
    """More of any axes, or less."""
    mode = net.pick("constant", "constant", "edge", "reflect")
    axes = [i for i in range(2, len(x.shape)) if net.chance(50)] or [x.axis]
    amounts = []
    for end in range(2):
        for axis in axes:
            size = x.shape[axis]
            most = min(2, size - 1) if mode == "reflect" else 2
            cut = mode == "constant" and size > 2 - end and net.chance(10)
            amounts.append(-1 if cut else net.number(0, most))
    inputs = [x.name]
    value = net.pick(0.0, 0.0, 1.0, -0.75) if mode == "constant" else 0.0
    if net.chance(50):
        inputs += [net.ints(*amounts), net.constant(np.float32(value)), net.ints(*axes)]
    else:
        around = np.zeros((2, len(x.shape)), np.int64)
        around[:, axes] = np.reshape(amounts, (2, -1))
        inputs += [net.constant(around.reshape(-1))]
        if value or net.chance(30):
            inputs.append(net.constant(np.float32(value)))
    attributes = {} if mode == "constant" and net.chance(50) else {"mode": mode}
    return net.of(net.op("Pad", *inputs, **attributes), "potentials")


@layer(lambda net, x: x.layout == "image" and math.prod(x.shape[2:]) < MOST // 4, 2)
def resized(net: Net, x: Tensor) -> Tensor:
    """An image of another size."""
    steps, _, channels, *size = x.shape
    mode = net.pick("nearest", "nearest", "linear", "cubic")
    attributes: dict = {"mode": mode}
    if net.chance(60):
        attributes["coordinate_transformation_mode"] = net.pick(
            "asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"
        )
    if mode == "nearest" and net.chance(60):
        attributes["nearest_mode"] = net.pick("floor", "ceil", "round_prefer_floor")
    factors = [net.pick(2.0, 1.0, 3.0, 1.5, 0.5) for _ in size]
    made = [max(int(n * f), 1) for n, f in zip(size, factors, strict=True)]
    flat = net.view(x.name, (steps, channels, *size))
    if net.chance(50) and all(int(n * f) for n, f in zip(size, factors, strict=True)):
        name = net.op("Resize", flat, "", net.constant(np.array([1, 1, *factors], np.float32)),
                      **attributes)  # fmt: skip
    else:
        name = net.op("Resize", flat, "", "", net.ints(steps, channels, *made), **attributes)
    made = net.shape(name)[2:]
    kind = x.kind if mode == "nearest" and x.kind == "spikes" else "potentials"
    return net.of(net.view(name, (steps, 1, channels, *made)), kind, x.high)


@layer(lambda net, x: x.layout == "image", 2)
def blocks_moved(net: Net, x: Tensor) -> Tensor:
    """Blocks of channels as blocks of pixels, or the other way."""
    steps, _, channels, *size = x.shape
    flat = net.view(x.name, (steps, channels, *size))
    if channels % 4 == 0 and net.chance(60):
        mode = net.pick("DCR", "CRD")
        name = net.op("DepthToSpace", flat, blocksize=2, **({"mode": mode} if mode else {}))
    elif all(n % 2 == 0 for n in size):
        name = net.op("SpaceToDepth", flat, blocksize=2)
    else:
        return x
    *_, channels, height, width = net.shape(name)
    return net.of(net.view(name, (steps, 1, channels, height, width)), x.kind, x.high)


@layer(lambda net, x: math.prod(x.shape[2:]) > 1, 3)
def largest(net: Net, x: Tensor) -> Tensor:
    """The largest, the least, or the sum of magnitudes along any axes, or along parts of them."""
    op_type = net.pick("ReduceMax", "ReduceMin", "ReduceL1")
    split, groups = split_axes(net, x)
    rank = len(net.shape(split))
    axes = [i for i in range(2, rank) if net.chance(40)] or [net.pick(*range(2, rank))]
    name = net.op(op_type, split, net.ints(*axes), keepdims=net.pick(0, 1))
    kept = [math.prod(1 if i in axes else n for i, n in group) for group in groups]
    kind = "spikes" if op_type == "ReduceMax" and x.kind == "spikes" else "potentials"
    return net.of(net.view(name, (x.shape[0], 1, *kept)), kind, x.high)


@layer(lambda net, x: math.prod(x.shape[2:]) < MOST // 4)
def tiled(net: Net, x: Tensor) -> Tensor:
    """Channels or positions, all of them, several times."""
    axis = net.pick(*range(2, len(x.shape)))
    repeats = [net.pick(2, 3) if i == axis else 1 for i in range(len(x.shape))]
    return net.of(net.op("Tile", x.name, net.ints(*repeats)), x.kind, x.high)


@layer(lambda net, x: math.prod(x.shape[2:]) < MOST // 4)
def beside_constants(net: Net, x: Tensor) -> Tensor:
    """Numbers of every step, or of each, joined along channels or positions."""
    axis = net.pick(*range(2, len(x.shape)))
    shape = [net.pick(1, 2) if i == axis else n for i, n in enumerate(x.shape)]
    numbers = net.rng().normal(size=[1, *shape[1:]]).astype(np.float32)
    constant = net.constant(np.ascontiguousarray(np.broadcast_to(numbers, shape)))
    parts = [x.name, constant] if net.chance(50) else [constant, x.name, x.name]
    return net.of(net.op("Concat", *parts, axis=axis), "potentials")


@layer(lambda net, x: x.layout == "image" and math.prod(x.shape[2:]) < MOST // 4, 2)
def transposed_conv(net: Net, x: Tensor) -> Tensor:
    """A transposed convolution."""
    steps, _, inputs, *size = x.shape
    kernel, strides = net.pick([2, 2], [3, 3], [1, 3], [4, 4]), net.pick([2, 2], [1, 1], [1, 2])
    attributes: dict = {"strides": strides}
    pads = [net.number(0, min(k - 1, 1)) for k in kernel * 2]
    grown = [
        (n - 1) * s + k - pads[i] - pads[i + 2]
        for i, (n, s, k) in enumerate(zip(size, strides, kernel, strict=True))
    ]
    if net.chance(50) and min(grown) > 0:
        attributes["pads"] = pads
    if net.chance(30):
        attributes["output_padding"] = [net.number(0, s - 1) for s in strides]
    group = net.pick(*(g for g in (1, 1, 2, 3) if inputs % g == 0))
    if group > 1:
        attributes["group"] = group
    out, gain = out_channels(net, x), net.gain()
    weights = net.weights((inputs, out, *kernel), 0, gain)
    bias = net.bias(out * group, gain * net.rms(x))
    flat = net.view(x.name, (steps, inputs, *size))
    inputs_ = [flat, weights, *([bias] if bias else [])]
    name = net.op("ConvTranspose", *inputs_, **attributes)
    *_, height, width = net.shape(name)
    name = net.view(name, (steps, 1, out * group, height, width))
    return net.of(name, "potentials")


@layer(lambda net, x: x.layout == "tokens")
def product_with_a_vector(net: Net, x: Tensor) -> Tensor:
    """One number for every token."""
    vector = net.rng().normal(size=x.channels).astype(np.float32)
    name = net.op("MatMul", x.name, net.constant(vector))
    return net.of(net.view(name, (*x.shape[:-1], 1)), "potentials")
