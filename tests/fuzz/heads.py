"""The ends of a network: frames, and logits."""

from __future__ import annotations

import math

import numpy as np

from hqc.dialect import DIALECT
from hqc.dialect.quant_uniform import code_range
from tests.fuzz.layouts import part
from tests.fuzz.net import Net, Tensor
from tests.fuzz.neurons import lif
from tests.fuzz.pools import mean_over_positions


def frames_in(net: Net) -> tuple[list[int], Tensor]:
    """The frames' shape, and the quantized frames: an image."""
    steps = net.pick(2, 1, 3, 4, 16)
    channels = net.pick(1, 2, 3, 5, 33)
    height, width = net.pick((4, 4), (1, 1), (1, 7), (5, 3), (6, 6), (3, 8), (9, 9), (7, 2))
    shape = [steps, 1, channels, height, width]
    if net.rarely("odd shapes", 30):
        shape = [steps, 2, channels, height, width]
    bits, signed = net.pick(8, 2, 3, 4, 6, 8, 8), int(net.chance(25))
    if net.rarely("finer input"):
        bits = net.pick(9, 12, 16)
    scale = net.pick(1.0, 1 / 255, 0.5, 1 / 32, 3.0)
    attributes = {"bits": bits, "signed": signed}
    if signed and net.chance(30):
        attributes["narrow"] = 1
    low, high = code_range(bits, signed)
    frames = net.rng().integers(low, high, shape, endpoint=True) * scale
    if net.chance(50):
        frames = frames * (net.rng().random(shape) < 0.3)
    repeated = steps > 1 and net.chance(15)
    if repeated:
        frames = frames[:1]
    other = None if repeated or shape[1] == 2 else net.pick(None, None, None, "batch", "bare")
    if other:
        moved = frames.swapaxes(0, 1) if other == "batch" else frames[:, 0]
        net.data["frames"] = moved.astype(np.float32)
        scales = net.constant(np.full(net.pick((), (1,)), scale, np.float32))
        name = "frames"
        if net.chance(50):
            name = net.op("QuantUniform", name, scales, domain=DIALECT, **attributes)
        if other == "batch" and net.chance(50):
            name = net.transpose(name, 1, 0, 2, 3, 4)
        name = net.view(name, shape)
        if not any(n.op_type == "QuantUniform" for n in net.nodes):
            name = net.op("QuantUniform", name, scales, domain=DIALECT, **attributes)
        return list(moved.shape), Tensor(name, "frames", tuple(shape), (height, width), high)
    net.data["frames"] = frames.astype(np.float32)
    given, name = list(frames.shape), "frames"
    scale_shape = net.pick((), (1,))
    scales = net.constant(np.full(scale_shape, scale, np.float32))
    first = not repeated or net.chance(50)
    if first:
        name = net.op("QuantUniform", name, scales, domain=DIALECT, **attributes)
    if repeated:
        if net.chance(50):
            name = net.op("Expand", name, net.constant(np.array(shape, np.int64)))
        else:
            name = net.op("Tile", name, net.constant(np.array([steps, 1, 1, 1, 1], np.int64)))
    if not first:
        name = net.op("QuantUniform", name, scales, domain=DIALECT, **attributes)
    if shape[1] == 2:
        shape = [steps, 1, 2 * channels, height, width]
        name = net.view(name, shape)
    return given, Tensor(name, "frames", tuple(shape), (height, width), high)


def head(net: Net, x: Tensor) -> str:
    """Logits: a linear layer on the mean over time and positions, or at each step; or features."""
    if net.chance(8):
        return _features(net, x)
    if x.kind != "spikes" and not net.rarely("odd heads", 20):
        if x.layout != "vector" and net.chance(30):
            x = mean_over_positions(net, x)
        x = lif(net, x)
    classes = net.pick(3, 1, 2, 10, 33)
    style = net.pick("together", "positions first", "time first", "each step")
    if style == "each step" and x.kind != "spikes":
        style = "together"
    if net.chance(25):
        return _plain_head(net, x, classes)
    axis = [] if x.layout == "vector" else [2] if x.layout == "tokens" else [3, 4]
    reduce = net.pick("ReduceMean", "ReduceMean", "ReduceMean", "ReduceSum")

    def reduced(name: str, axes: list[int], keep: int = 0) -> str:
        if not axes:
            return name
        return net.op(reduce, name, net.constant(np.array(axes, np.int64)), keepdims=keep)

    name = x.name
    if net.rarely("odd heads"):
        style = net.pick("positions kept", "one step", "batch too", "after", "one axis", "channels")
    if style == "together":
        keep = int(net.chance(20))
        axes = [0, *axis] if net.chance(70) else [0, *(a - len(x.shape) for a in axis)]
        name = net.view(reduced(name, axes, keep), (1, x.channels))
    elif style in ("positions first", "each step"):
        name = reduced(name, axis)
        name = name if style == "each step" else reduced(name, [0])
    elif style == "time first":
        name = reduced(name, [0])
        name = reduced(name, [a - 1 for a in axis])
    elif style == "positions kept":
        name = net.view(reduced(name, [0]), (1, math.prod(x.shape[1:])))
    elif style == "one step":
        name = reduced(name, axis)
        name = net.op("Gather", name, net.constant(np.int64(0)), axis=0)
    elif style == "one axis":
        for last in axis[::-1]:
            name = reduced(name, [last])
        name = reduced(name, [0])
    elif style == "channels":
        name = net.view(
            reduced(name, [0, x.axis]), (1, math.prod(x.shape) // x.channels // x.shape[0])
        )
    elif style == "batch too":
        name = net.view(reduced(name, [0, 1, *axis]), (1, x.channels))
    elif style == "after":
        name = net.view(reduced(name, [0, *axis]), (1, x.channels))
    inputs = net.shape(name)[-1]
    gain = net.gain()
    bias = net.bias(classes, gain * net.pick(0.2, 0.01, 1.0))
    if style == "each step" or net.chance(25):
        weights = net.weights((inputs, classes), 1, gain)
        name = net.op("MatMul", name, weights)
        if bias and (style == "each step" or net.rarely("odd heads")):
            name = net.op("Add", name, bias)
        if style == "each step":
            axes = net.constant(np.array([0], np.int64))
            name = net.op("ReduceMean", name, axes, keepdims=0)
    else:
        transposed = net.chance(70)
        shape = (classes, inputs) if transposed else (inputs, classes)
        weights = net.weights(shape, 0 if transposed else 1, gain)
        attributes = {"transB": 1} if transposed else {}
        name = net.op("Gemm", name, weights, *([bias] if bias else []), **attributes)
    if style == "after":
        name = net.op("Mul", name, net.constant(np.float32(0.5)))
    return name


def _plain_head(net: Net, x: Tensor, classes: int) -> str:
    """Logits that are no classifier's of mean spikes: of each step, flattened, voted, or rates."""
    axis = [] if x.layout == "vector" else [2] if x.layout == "tokens" else [3, 4]
    style = net.pick("flattened", "every step", "rates", "two layers", "votes")

    def mean(name: str, axes: list[int], keep: int = 0) -> str:
        axes_ = net.constant(np.array(axes, np.int64))
        return net.op("ReduceMean", name, axes_, keepdims=keep) if axes else name

    if style == "flattened":
        name = mean(x.name, [0])
        size = math.prod(x.shape[1:])
        return net.op("MatMul", net.view(name, (1, size)), net.weights((size, classes), 1, 1.0))
    name = net.view(mean(x.name, axis), (x.shape[0], x.channels))
    if style == "rates":
        return mean(name, [0], keep=1) if net.chance(70) else name
    name = net.op("MatMul", name, net.weights((x.channels, classes), 1, net.gain()))
    if style == "every step":
        return name
    if style == "two layers":
        bias = net.bias(classes, 1.0)
        name = net.op("Add", name, bias) if bias else name
        name = net.op("MatMul", name, net.weights((classes, 3), 1, 1.0))
        return mean(name, [0], keep=1)
    spikes = lif(net, Tensor(net.view(name, (x.shape[0], 1, classes)), "potentials",
                             (x.shape[0], 1, classes), (1, 1)))  # fmt: skip
    kernel = net.pick(1, 2, 3)
    if classes < kernel:
        return mean(net.view(spikes.name, (x.shape[0], classes)), [0], keep=1)
    votes = net.op("AveragePool", spikes.name, kernel_shape=[kernel], strides=[net.pick(kernel, 1)])
    return mean(net.view(votes, (x.shape[0], net.shape(votes)[2])), [0], keep=1)


def _features(net: Net, x: Tensor) -> str:
    """What a layer gives, as it is: of every step, or its mean or sum over time, or a step's."""
    style = net.pick("every step", "mean", "sum", "last")
    name = x.name
    if x.layout != "vector" and net.chance(30):
        name = part(net, name, net.pick(*range(2, len(x.shape))))
    if net.chance(20):
        name = net.op("Mul", name, net.constant(np.float32(0.3)))
    if net.chance(20):
        name = net.view(name, (x.shape[0], *net.shape(name)[2:]))
    if net.chance(20):
        rank = len(net.shape(name))
        name = net.transpose(name, 0, *range(rank - 1, 0, -1))
    if style == "last":
        name = net.op("Gather", name, net.constant(np.int64(-1)), axis=0)
    elif style != "every step":
        op_type = "ReduceMean" if style == "mean" else "ReduceSum"
        name = net.op(op_type, name, net.ints(0), keepdims=int(net.chance(50)))
    return net.op("Identity", name) if name == x.name else name
