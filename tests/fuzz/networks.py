"""Random networks of the dialect: every op and attribute that a model file may hold.

A network is drawn layer by layer. A layer is a function below, registered for the kinds of tensors
that it reads; it adds nodes, whose values for one recording are computed at once, so that the
neurons that follow get a threshold that some of them reach.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from hqc.dialect import DIALECT, OPSET, attach_functions, ops
from hqc.dialect.quant_uniform import code_range
from hqc.passes import DEFAULT

RARE = (
    "alpha, beta and transA",
    "auto_pad",
    "ceil_mode",
    "codes at both ends",
    "computed constants",
    "constants along other axes",
    "dead channels",
    "dilations",
    "edge of 32 bits",
    "finer input",
    "frames elsewhere",
    "groups",
    "negative factors",
    "odd attention",
    "odd heads",
    "odd shapes",
    "odd views",
    "potentials in linear layers",
    "products of sums",
    "unknown ops",
    "variance",
)
"""What a network has only if it was drawn for it: mostly what the compiler may refuse."""

_REFERENCES = {op.name: op.reference for op in ops()}


@dataclass(frozen=True)
class Network:
    """A drawn model, and the pipeline to compile it with; None is the default one."""

    proto: onnx.ModelProto
    passes: str | None = None
    rare: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the model's input."""
        (frames,) = (v for v in self.proto.graph.input if v.name == "frames")
        return tuple(d.dim_value for d in frames.type.tensor_type.shape.dim)

    def __repr__(self) -> str:
        counts = Counter(node.op_type for node in self.proto.graph.node)
        return f"Network({list(self.shape)}, {dict(counts)}, {list(self.rare)}, {self.passes})"


@dataclass(frozen=True)
class Tensor:
    """A value between layers: an image [T, 1, C, H, W], tokens [T, 1, L, C], or [T, 1, C].

    `kind` is "frames", "spikes" (sums of them too) or "potentials".
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    positions: tuple[int, int]
    high: int = 1

    @property
    def layout(self) -> str:
        """How the axes are ordered."""
        return {5: "image", 4: "tokens", 3: "vector"}[len(self.shape)]

    @property
    def axis(self) -> int:
        """The axis of the channels."""
        return 3 if self.layout == "tokens" else 2

    @property
    def channels(self) -> int:
        """How many channels it has."""
        return self.shape[self.axis]


@dataclass
class Net:
    """A network under construction. `data` holds every value, for one recording."""

    draw: st.DrawFn
    rare: frozenset[str]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    data: dict[str, np.ndarray] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)
    weights_made: dict[tuple, str] = field(default_factory=dict)
    depth: int = 0

    # Drawing.

    def pick(self, *choices):
        """One of the choices; the first is the simplest."""
        return self.draw(st.sampled_from(choices))

    def chance(self, percent: int) -> bool:
        """True in so many percent of all draws."""
        return self.draw(st.integers(0, 99)) >= 100 - percent

    def rarely(self, feature: str, percent: int = 50) -> bool:
        """Whether to do what only networks drawn for it do."""
        assert feature in RARE
        return feature in self.rare and self.chance(percent)

    def rng(self) -> np.random.Generator:
        """Random numbers for one array."""
        return np.random.default_rng(self.draw(st.integers(0, 255)))

    def gain(self) -> float:
        """How large a layer's sums are meant to be."""
        return self.pick(1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.02, 0.3, 30.0, 1000.0)

    # Nodes.

    def constant(self, array: np.ndarray) -> str:
        """An initializer, or at times a Constant node."""
        name = f"constant_{len(self.data)}"
        tensor = numpy_helper.from_array(np.asarray(array), name)
        if self.chance(4):
            self.nodes.append(helper.make_node("Constant", [], [name], name=name, value=tensor))
        else:
            self.initializers.append(tensor)
        self.data[name] = np.asarray(array)
        return name

    def op(self, op_type: str, *inputs: str, domain: str = "", **attributes) -> str:
        """Add a node of one output, and compute it."""
        out = f"value_{len(self.data)}"
        name = f"{op_type}_{len(self.data)}"
        node = helper.make_node(op_type, inputs, [out], name=name, domain=domain, **attributes)
        self.nodes.append(node)
        arrays = [self.data[i] for i in inputs]
        if domain == DIALECT:
            self.data[out] = _REFERENCES[op_type](*arrays, **attributes).astype(np.float32)
        else:
            self.data[out] = _run(node, arrays)
        return out

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a value."""
        return self.data[name].shape

    def view(self, name: str, shape: Sequence[int]) -> str:
        """The value in another shape, by one of the ops that do that."""
        old, shape = self.shape(name), tuple(shape)
        if old == shape:
            return name
        if not self.chance(20):
            return self.op("Reshape", name, self.constant(np.array(shape, np.int64)))
        if old == (shape[0], 1, *shape[1:]):
            return self.op("Squeeze", name, self.constant(np.array([1], np.int64)))
        if shape == (old[0], 1, *old[1:]):
            return self.op("Unsqueeze", name, self.constant(np.array([1], np.int64)))
        if len(shape) == 2 and shape[1] == old[-1]:
            return self.op("Flatten", name, axis=len(old) - 1)
        if len(shape) == 2 and shape[0] == old[0]:
            return self.op("Flatten", name)
        at = self.draw(st.integers(0, len(shape) - 1))
        target = [*shape[:at], -1, *shape[at + 1 :]]
        return self.op("Reshape", name, self.constant(np.array(target, np.int64)))

    def transpose(self, name: str, *perm: int) -> str:
        """The value with its axes permuted."""
        return self.op("Transpose", name, perm=perm)

    def tensor(self, name: str, kind: str, like: Tensor, positions=None, high: int = 1) -> Tensor:
        """A value as a tensor between layers."""
        return Tensor(name, kind, self.shape(name), positions or like.positions, high)

    # Layouts.

    def as_tokens(self, x: Tensor) -> Tensor:
        """The tensor as [T, 1, L, C]."""
        if x.layout == "tokens":
            return x
        steps, channels, length = x.shape[0], x.channels, math.prod(x.positions)
        if x.layout == "vector":
            name = self.view(x.name, (steps, 1, 1, channels))
        elif self.chance(30):
            moved = self.transpose(x.name, 0, 1, 3, 4, 2)
            name = self.view(moved, (steps, 1, length, channels))
        else:
            name = self.transpose(self.view(x.name, (steps, 1, channels, length)), 0, 1, 3, 2)
        return replace(x, name=name, shape=self.shape(name))

    def as_image(self, x: Tensor) -> Tensor:
        """The tensor as [T, 1, C, H, W]."""
        shape = (x.shape[0], 1, x.channels, *x.positions)
        if x.layout == "image":
            return x
        name = x.name
        if x.layout == "tokens" and self.chance(30):
            split = self.view(name, (x.shape[0], 1, *x.positions, x.channels))
            name = self.transpose(split, 0, 1, 4, 2, 3)
        elif x.layout == "tokens":
            name = self.transpose(name, 0, 1, 3, 2)
        return replace(x, name=self.view(name, shape), shape=shape)

    def as_layout(self, x: Tensor, layout: str) -> Tensor:
        """The tensor as an image or as tokens."""
        return self.as_image(x) if layout == "image" else self.as_tokens(x)

    # Parameters.

    def weights(self, shape: Sequence[int], axis: int, gain: float) -> str:
        """Quantized weights, or floats; `axis` is that of the output channels."""
        key = (*shape, axis)
        if key in self.weights_made and self.chance(10):
            return self.weights_made[key]
        rng = self.rng()
        style = self.pick("normal", "normal", "positive", "negative", "equal", "few")
        values = {
            "normal": lambda: rng.normal(size=shape),
            "positive": lambda: rng.uniform(0.2, 1, shape),
            "negative": lambda: -rng.uniform(0.2, 1, shape),
            "equal": lambda: np.ones(shape),
            "few": lambda: rng.normal(size=shape) * (rng.random(shape) < 0.15),
        }[style]()
        spread = np.ones([n if i == axis else 1 for i, n in enumerate(shape)])
        if self.chance(15):
            spread = 10.0 ** rng.uniform(-2, 2, spread.shape)
        if self.rarely("dead channels"):
            spread = spread * (rng.random(spread.shape) < 0.7)
        fan_in = math.prod(shape) / shape[axis]
        values = (values * spread * gain / math.sqrt(fan_in)).astype(np.float32)
        made = self.quantized(values, axis)
        if self.chance(5):
            made = self.op("Identity", made)
        self.weights_made[key] = made
        return made

    def quantized(self, values: np.ndarray, axis: int) -> str:
        """An array through a quantizer, or as it is."""
        scheme = self.pick(*["uniform"] * 4, "pow2", "pow2", "float")
        if scheme == "float":
            return self.constant(values)
        attributes = {"axis": self.pick(axis, axis - values.ndim)}
        if scheme == "uniform":
            bits = self.pick(8, 2, 3, 4, 4, 5, 6, 7, 8, 8, 9, 12, 16)
            signed = int(not self.chance(25))
            narrow = int(not self.chance(20 + 60 * ("codes at both ends" in self.rare)))
            values = values if signed else np.abs(values)
            levels = code_range(bits, signed)[1]
            attributes |= {"bits": bits, "signed": signed, "narrow": narrow}
        else:
            levels = 1
            attributes |= {"bits": self.pick(2, 3, 4)}
        others = tuple(i for i in range(values.ndim) if i != axis)
        per_channel = self.chance(50)
        reach = np.abs(values).max(others if per_channel else None)
        scale = np.where(reach > 0, reach, 1) / levels
        scale = (scale * self.pick(1.0, 1.0, 0.6, 1.7)).astype(np.float32)
        if not per_channel:
            scale = scale.reshape(self.pick((1,), ()))
            if self.chance(50):
                del attributes["axis"]
        if self.rarely("odd shapes", 20) and per_channel:
            attributes["axis"] = other = (axis + 1) % values.ndim
            scale = np.full(values.shape[other], scale.max(), np.float32)
            scale[0] *= 0.75
        op_type = "QuantUniform" if scheme == "uniform" else "QuantPow2"
        inputs = self.constant(values), self.constant(scale)
        return self.op(op_type, *inputs, domain=DIALECT, **attributes)

    def bias(self, channels: int, size: float) -> str | None:
        """A bias, plain or computed; or None."""
        if self.chance(40):
            return None
        rng = self.rng()
        size = size * self.pick(1.0, 0.1, 3.0)
        values = rng.normal(self.pick(0.0, 1.0), 1, channels) * size
        values = values.astype(np.float32)
        if not self.rarely("computed constants"):
            return self.constant(values)
        made = self.quantized(values, 0)
        return made if self.chance(50) else self.op(self.pick("Identity", "Neg"), made)

    def batch_norm(self, name: str) -> str:
        """BatchNormalization over axis 1."""
        data, rng = self.data[name].astype(np.float64), self.rng()
        channels, others = data.shape[1], (0, *range(2, data.ndim))
        mean, variance = data.mean(others), data.var(others)
        if self.chance(30):
            mean, variance = np.zeros(channels), np.full(channels, max(variance.mean(), 1e-6))
        gamma = rng.uniform(0.5, 1.5, channels)
        some = rng.random(channels) < self.pick(0.3, 0.7, 1.0)
        style = self.pick("plain", "plain", "plain", "signs", "signs", "tiny", "zero", "huge")
        factor = {"plain": 1, "signs": -1, "tiny": 1e-8, "zero": 0, "huge": 1e4}[style]
        gamma = gamma * np.where(some, factor, 1)
        beta = rng.normal(self.pick(0.5, 0.0, -0.5), 0.5, channels)
        gain = self.gain()
        if self.rarely("variance"):
            variance = np.where(some, self.pick(0.0, -1.0), variance)
        arrays = (gamma * gain, beta * gain, mean, variance)
        parameters = [self.constant(a.astype(np.float32)) for a in arrays]
        if self.rarely("computed constants", 25):
            at = self.draw(st.integers(0, 3))
            parameters[at] = self.op("Identity", parameters[at])
        attributes = {} if self.chance(50) else {"epsilon": self.pick(1e-5, 1e-3)}
        if "variance" in self.rare:
            attributes = {"epsilon": self.pick(1e-5, 0.0)}
        return self.op("BatchNormalization", name, *parameters, **attributes)

    def rms(self, x: Tensor) -> float:
        """The size of a tensor's values."""
        return max(float(np.sqrt(np.mean(np.square(self.data[x.name])))), 1e-3)


def _run(node: onnx.NodeProto, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """One node of standard ONNX, in onnxruntime."""
    names = [i for i in node.input if i]
    feeds = dict(zip(names, arrays, strict=True))
    graph = helper.make_graph(
        [node],
        "node",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in feeds.items()
        ],
        [helper.make_empty_tensor_value_info(node.output[0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, feeds)[0]


# Layers. Each takes the net and a tensor, and returns a tensor.

Layer = Callable[[Net, Tensor], Tensor]

Where = Callable[[Net, Tensor], bool]

LAYERS: list[tuple[Layer, Where, int, frozenset[str]]] = []


def layer(applies: Where, weight: int = 1, rare: Sequence[str] = ()) -> Callable[[Layer], Layer]:
    """Register a layer: where it may stand, how often it is drawn, and what it does rarely."""

    def register(function: Layer) -> Layer:
        LAYERS.append((function, applies, weight, frozenset(rare)))
        return function

    return register


def fitting(net: Net, x: Tensor) -> list[Layer]:
    """The layers that may read x, each as often as it is to be drawn."""
    return [
        function
        for function, applies, weight, rare in LAYERS
        if applies(net, x)
        for _ in range(weight * (4 if rare & net.rare else 1))
    ]


def _spikes(net: Net, x: Tensor) -> bool:
    return x.kind == "spikes"


def _potentials(net: Net, x: Tensor) -> bool:
    return x.kind == "potentials"


@layer(lambda net, x: x.kind != "frames" or "frames elsewhere" in net.rare, 8)
def lif(net: Net, x: Tensor) -> Tensor:
    """Neurons, whose threshold some of the potentials reach."""
    if x.kind != "potentials" and not net.rarely("odd views", 20):
        x = conv(net, x) if net.chance(50) else linear(net, x)
    attributes: dict = {}
    tau = net.pick(2.0, 2.0, 2.0, 1.0, 1.5, 3.0, 4.0, 7.0, 20.0, 30.0, math.inf)
    decay = int(tau != math.inf and not net.chance(25))
    if tau != 2.0 or net.chance(30):
        attributes["tau"] = tau
    if not decay or net.chance(30):
        attributes["decay_input"] = decay
    name = x.name
    steps, _, *rest = x.shape
    if net.chance(10) or net.rarely("odd views"):  # neurons do not see the axes behind time
        size = x.channels
        split = next(h for h in (2, 3, 5, 1) if size % h == 0)
        parts = itertools.chain(*([split, n // split] if n == size else [n] for n in rest))
        mixed = (steps, 1, *parts), (steps, 1, math.prod(rest)), (steps, *rest[::-1])
        name = net.view(name, net.pick(*mixed) if "odd views" in net.rare else (steps, *rest))
    charged = _charged(net.data[name].astype(np.float64), tau, decay)
    rate = net.pick(0.3, 0.1, 0.5, 0.02, 0.6)
    charged = charged[np.isfinite(charged)]
    threshold = float(np.quantile(charged, 1 - rate)) if charged.size else 1.0
    if not threshold > 1e-6:
        threshold = max(float(charged.max()) / 2, 1e-3)
    threshold = float(np.float32(f"{threshold:.3g}"))
    if net.chance(3):
        threshold *= net.pick(1e5, 1e-5)
    if threshold != 1.0 or net.chance(30):
        attributes["v_threshold"] = threshold
    if net.chance(25):
        attributes["v_reset"] = threshold * net.pick(-0.5, 0.3, -3.0, 0.0, 1.5)
    if net.chance(30):
        attributes["soft_reset"] = 1
    name = net.view(net.op("LIF", name, domain=DIALECT, **attributes), x.shape)
    return net.tensor(name, "spikes", x)


def _charged(x: np.ndarray, tau: float, decay: int) -> np.ndarray:
    """Membrane potentials that are never reset."""
    v, charged = np.zeros_like(x[0]), []
    for x_t in x:
        v = v * (1 - 1 / tau) + (x_t / tau if decay else x_t)
        charged.append(v)
    return np.stack(charged)


@layer(lambda net, x: x.kind != "potentials", 4)
def conv(net: Net, x: Tensor, channels: int | None = None, same: bool = False) -> Tensor:
    """A convolution, with BatchNorm or without."""
    x = net.as_image(x)
    steps, _, inputs, *size = x.shape
    out = channels or (inputs if net.chance(40) else _channels(net))
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
        pads = _pads(net, size, reach)
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


def _channels(net: Net) -> int:
    return net.pick(4, 1, 2, 3, 5, 8, 16, 31, 32, 32, 33, 64, 64, 65)


def _pads(net: Net, size: Sequence[int], kernel: Sequence[int]) -> list[int]:
    """Padding with which the window fits: as much as keeps the size, none, or any."""
    style = net.pick("same", "same", "none", "any")
    most = [k - 1 for k in kernel]
    if style == "none" and all(k <= n for k, n in zip(kernel, size, strict=True)):
        return [0, 0, 0, 0]
    if style == "any":
        pads = [net.draw(st.integers(0, m)) for m in most * 2]
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
    out = channels or (inputs if net.chance(40) else _channels(net))
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


@layer(
    lambda net, x: x.kind != "frames" or "frames elsewhere" in net.rare,
    2,
    rare=["constants along other axes", "negative factors"],
)
def constant_operand(net: Net, x: Tensor) -> Tensor:
    """A constant added to, or multiplied with, every channel."""
    op_type = net.pick("Mul", "Add", "Div", "Sub")
    rng, data = net.rng(), net.data[x.name]
    axis = x.axis
    if net.rarely("constants along other axes"):
        axis = net.draw(st.integers(2, len(x.shape) - 1))
    length = 1 if net.chance(40) else x.shape[axis]
    if op_type in ("Mul", "Div"):
        array = rng.uniform(0.3, 2, length) * net.pick(1.0, 1.0, 0.125, 8.0)
        if net.rarely("negative factors"):
            array = array * np.where(rng.random(length) < 0.5, -1, 1)
        if op_type == "Mul" and net.rarely("dead channels"):
            array = array * (rng.random(length) < 0.7)
    else:
        array = rng.normal(0, 0.5, length) * max(float(np.abs(data).max()), 0.1)
    shape = [length if i == axis else 1 for i in range(len(x.shape))]
    drop = net.draw(st.integers(0, axis)) if net.chance(50) else 0
    if length == 1 and net.chance(50):
        drop = len(shape)
    value = net.constant(array.reshape(shape[drop:]).astype(np.float32))
    if net.rarely("computed constants"):
        value = net.op("Identity", value)
    swapped = net.chance(15) and (op_type in ("Mul", "Add") or net.rarely("negative factors"))
    if swapped and op_type == "Div":
        swapped = False
    name = net.op(op_type, *((value, x.name) if swapped else (x.name, value)))
    scaled = x.kind == "spikes" and op_type in ("Mul", "Div") and length == 1 and array.min() > 0
    return net.tensor(name, "spikes" if scaled else "potentials", x, high=x.high)


@layer(
    lambda net, x: (
        x.layout != "vector"
        and (x.high == 1 or "products of sums" in net.rare)
        and (x.kind != "frames" or "frames elsewhere" in net.rare)
    ),
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
        pads = _pads(net, size, [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)])
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


@layer(lambda net, x: x.kind != "frames" and x.layout == "image", 2, ["ceil_mode"])
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
            attributes |= {"count_include_pad": int(not net.rarely("odd shapes"))}
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


@layer(lambda net, x: x.kind != "frames" and x.channels > 1, 2, ["odd views"])
def some_channels(net: Net, x: Tensor) -> Tensor:
    """A block of channels."""
    start = net.draw(st.integers(0, x.channels - 1))
    end = net.draw(st.integers(start + 1, x.channels))
    axis = x.axis - (len(x.shape) if net.chance(30) else 0)
    bounds = [net.constant(np.array([i], np.int64)) for i in (start, end, axis)]
    if net.rarely("odd views", 30):
        bounds.append(net.constant(np.array([2], np.int64)))
    return net.tensor(net.op("Slice", x.name, *bounds), x.kind, x, high=x.high)


@layer(lambda net, x: len(_neighbours(net, x)) > 0, 2)
def joined(net: Net, x: Tensor) -> Tensor:
    """The channels of several tensors."""
    others = [net.pick(*_neighbours(net, x)) for _ in range(net.pick(1, 1, 2))]
    parts = [x, *(net.as_layout(o, x.layout) if x.layout != "vector" else o for o in others)]
    spikes = all(p.kind == "spikes" for p in parts)
    name = net.op("Concat", *(p.name for p in parts), axis=x.axis)
    high = max(p.high for p in parts)
    return net.tensor(name, "spikes" if spikes else "potentials", x, high=high)


def _neighbours(net: Net, x: Tensor) -> list[Tensor]:
    """Tensors of as many positions, whose channels x's can be put beside."""
    return [
        t
        for t in net.tensors[::-1]
        if "frames" not in (t.kind, x.kind)
        and t.positions == x.positions
        and (t.layout == "vector") == (x.layout == "vector")
        and t.channels + x.channels < 200
    ]


@layer(lambda net, x: x.layout != "vector" and math.prod(x.shape[2:]) < 400, 2)
def flattened(net: Net, x: Tensor) -> Tensor:
    """A linear layer of whole images, or of all tokens."""
    steps, size = x.shape[0], math.prod(x.shape[2:])
    out, gain = _channels(net), net.gain()
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
    out, gain = _channels(net), net.gain()
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


@layer(lambda net, x: _spikes(net, x) and x.layout != "vector", 2)
def token_mask(net: Net, x: Tensor) -> Tensor:
    """The neurons of sums over the channels of heads, times other spikes."""
    x = net.as_image(x)
    if x.high > 1:
        x = lif(net, conv(net, x, x.channels, same=True))
    steps, _, channels, height, width = x.shape
    heads = net.pick(*(h for h in (1, 2, 3, 5) if channels % h == 0))
    shape = (steps, 1, heads, channels // heads, height * width)
    q, k = (net.view(f.name, shape) for f in (x, _branch(net, x, "image", high=1)))
    axes = net.constant(np.array([net.pick(3, -2)], np.int64))
    total = net.op(net.pick("ReduceSum", "ReduceMean"), q, axes, keepdims=1)
    reached = float(net.data[total].max()) / 2 or 0.5
    mask = net.op("LIF", total, domain=DIALECT, v_threshold=float(np.float32(f"{reached:.3g}")))
    gated = net.op("Mul", *((mask, k) if net.chance(50) else (k, mask)))
    return net.tensor(net.view(gated, x.shape), "spikes", x)


@layer(lambda net, x: len(_partners(net, x)) > 0, 4)
def residual(net: Net, x: Tensor) -> Tensor:
    """The sum with an earlier tensor of the same size."""
    other = net.pick(*_partners(net, x))
    return add(net, x, other)


def _partners(net: Net, x: Tensor) -> list[Tensor]:
    """Earlier tensors of as many channels and positions, the latest first."""
    if x.layout == "vector":
        return [t for t in net.tensors[::-1] if t.shape == x.shape and t.name != x.name]
    return [
        t
        for t in net.tensors[::-1]
        if t.name != x.name
        and t.layout != "vector"
        and (t.channels, t.positions) == (x.channels, x.positions)
        and "frames" not in (t.kind, x.kind)
    ] + [
        t
        for t in net.tensors[:1]
        if t.name != x.name
        and x.kind == "spikes"
        and x.layout == "image"
        and (t.channels, t.positions) == (x.channels, x.positions)
    ]


def add(net: Net, x: Tensor, other: Tensor) -> Tensor:
    """The sum of two tensors of one size."""
    if x.layout != "vector":
        other = net.as_layout(other, x.layout)
    pair = (x.name, other.name) if net.chance(50) else (other.name, x.name)
    kind = "spikes" if {x.kind, other.kind} <= {"spikes", "frames"} else "potentials"
    return net.tensor(net.op("Add", *pair), kind, x, high=x.high + other.high)


@layer(lambda net, x: x.kind != "potentials" and "edge of 32 bits" in net.rare, 20)
def on_the_edge(net: Net, x: Tensor) -> Tensor:
    """Neurons whose potentials, never reset, end just below a power of two accumulators."""
    x, steps = net.as_image(x), x.shape[0]
    tau = net.pick(7.0, 20.0, 30.0, 3.0, 1.5)
    code, unit = net.pick(127, 1, 100), np.float32(2.0**-6)
    weights = net.constant(np.full((3, x.channels, 1, 1), code * unit, np.float32))
    weights = net.op("QuantUniform", weights, net.constant(unit.reshape(1)), domain=DIALECT, bits=8)
    scale = float(net.data[x.name].max()) / x.high or 1.0
    memory = sum((1 - 1 / tau) ** t for t in range(steps))
    most = code * x.channels * x.high
    end = 2.0 ** math.ceil(math.log2((most + 1) * memory)) - net.pick(2.5, 3.0, 10.0)
    bias = (end / memory - most) * unit * scale
    bias = net.constant(np.full(3, bias, np.float32))
    name = net.view(x.name, (steps, x.channels, *x.positions))
    name = net.view(net.op("Conv", name, weights, bias), (steps, 1, 3, *x.positions))
    threshold = end * unit * scale * net.pick(2.0, 0.5)
    attributes = {"tau": tau, "decay_input": 0, "v_threshold": float(np.float32(threshold))}
    return net.tensor(net.op("LIF", name, domain=DIALECT, **attributes), "spikes", x)


@layer(_potentials)
def chained_conv(net: Net, x: Tensor) -> Tensor:
    """A convolution of potentials."""
    return conv(net, x)


@layer(_potentials)
def two_neurons(net: Net, x: Tensor) -> Tensor:
    """Two layers of neurons on the same potentials, and the sum of their spikes."""
    return add(net, lif(net, x), lif(net, x))


@layer(lambda net, x: _spikes(net, x) and x.layout != "vector" and net.depth == 0, 3)
def block(net: Net, x: Tensor) -> Tensor:
    """A shortcut around a layer and its neurons; both before the sum, or the neurons first."""
    return _shortcut(net, x)


@layer(lambda net, x: _potentials(net, x) and x.layout != "vector" and net.depth == 0, 3)
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


def _branch(net: Net, x: Tensor, layout: str, high: int) -> Tensor:
    """Spikes of as many channels and positions as x: of a layer of their own, or x itself."""
    odd = net.rarely("odd attention", 30)
    if net.chance(20) and x.high <= high and (x.layout == layout or odd):
        return net.as_layout(x, layout)
    imaged = (layout == "image") != odd
    y = conv(net, x, x.channels, same=True) if imaged else linear(net, x, x.channels)
    s = net.as_layout(lif(net, y), layout)
    if net.chance(15) and high > 1:
        s = add(net, s, net.as_layout(x, layout))
    return s


@layer(lambda net, x: _spikes(net, x) and x.layout != "vector", 5, ["odd attention"])
def attention(net: Net, x: Tensor) -> Tensor:
    """Neurons of (Q K^T) V, over heads."""
    layout = net.pick(x.layout, "tokens", "image")
    q, k, v = (_branch(net, x, layout, high=255) for _ in range(3))
    heads = net.pick(*(h for h in (1, 2, 3, 4, 5) if x.channels % h == 0))
    q, k, v = (_heads(net, factor, heads) for factor in (q, k, v))
    odd = net.rarely("odd attention")
    k = k if odd and x.channels // heads == math.prod(x.positions) else _swapped(net, k)
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
    return lif(net, net.tensor(_merged(net, y, like, heads), "potentials", like))


def _heads(net: Net, x: Tensor, heads: int) -> str:
    """Tokens by heads: [T, 1, heads, L, C / heads]."""
    steps, length, dim = x.shape[0], math.prod(x.positions), x.channels // heads
    if x.layout == "tokens":
        split = net.view(x.name, (steps, 1, length, heads, dim))
        return net.transpose(split, 0, 1, 3, 2, 4)
    name = net.view(x.name, (steps, 1, x.channels, length)) if net.chance(30) else x.name
    return net.transpose(net.view(name, (steps, 1, heads, dim, length)), 0, 1, 2, 4, 3)


def _merged(net: Net, name: str, like: Tensor, heads: int) -> str:
    """Tokens by heads, in the layout of `like`."""
    perm = (0, 1, 3, 2, 4) if like.layout == "tokens" else (0, 1, 2, 4, 3)
    return net.view(net.transpose(name, *perm), like.shape)


def _swapped(net: Net, name: str) -> str:
    return net.transpose(name, 0, 1, 2, 4, 3)


@layer(lambda net, x: _spikes(net, x) and x.layout != "vector", 2, ["products of sums"])
def mask_attention(net: Net, x: Tensor) -> Tensor:
    """Q times the neurons of the sum of K V over tokens."""
    layout = net.pick(x.layout, "image", "tokens")
    high = 255 if net.rarely("products of sums") else 1
    if x.high > high:
        x = lif(net, conv(net, x, x.channels, same=True))
    q, k, v = (_branch(net, x, layout, high) for _ in range(3))
    like = net.as_layout(x, layout)
    by_heads = net.chance(40)
    heads = net.pick(*(h for h in (1, 2, 3) if x.channels % h == 0))
    names = [_heads(net, f, heads) if by_heads else f.name for f in (q, k, v)]
    axes = [3] if by_heads else [3, 4] if layout == "image" else [2]
    joined = net.op("Mul", names[1], names[2])
    total = net.op("ReduceSum", joined, net.constant(np.array(axes, np.int64)), keepdims=1)
    one = Tensor(total, "potentials", net.shape(total), (1, 1))
    attributes = {"v_threshold": net.pick(0.5, 1.0, 2.0)}
    mask = net.op("LIF", one.name, domain=DIALECT, **attributes)
    y = net.op("Mul", *((names[0], mask) if net.chance(70) else (mask, names[0])))
    name = _merged(net, y, like, heads) if by_heads else y
    return net.tensor(name, "spikes", like, high=q.high)


@layer(lambda net, x: x.kind != "frames" and x.layout != "vector")
def mean_over_positions(net: Net, x: Tensor) -> Tensor:
    """The mean or the sum over all positions."""
    op_type = net.pick("ReduceMean", "ReduceSum")
    axes = [2] if x.layout == "tokens" else [3, 4]
    axes = [a - len(x.shape) for a in axes] if net.chance(30) else axes
    keep = int(net.chance(30))
    name = net.op(op_type, x.name, net.constant(np.array(axes, np.int64)), keepdims=keep)
    return net.tensor(name, "potentials", x, (1, 1))


@layer(lambda net, x: x.kind != "frames" and "odd views" in net.rare and x.layout == "image", 4)
def shuffled(net: Net, x: Tensor) -> Tensor:
    """Another order of channels or positions."""
    steps, _, channels, height, width = x.shape
    groups = next(h for h in (2, 3, 5, 1) if channels % h == 0)
    if net.chance(60):
        split = net.view(x.name, (steps, 1, groups, channels // groups, height, width))
        name = net.view(net.transpose(split, 0, 1, 3, 2, 4, 5), x.shape)
        return net.tensor(name, x.kind, x, high=x.high)
    name = net.transpose(x.name, 0, 1, 2, 4, 3)
    return net.tensor(name, x.kind, x, (width, height), x.high)


@layer(lambda net, x: x.kind != "frames" and "unknown ops" in net.rare, 4)
def unknown_op(net: Net, x: Tensor) -> Tensor:
    """An op that hqc does not lower, or not here."""
    op_type = net.pick("Relu", "Abs", "QuantUniform", "Dropout", "GlobalAveragePool", "IntegerLIF")
    if op_type == "IntegerLIF":
        name = net.op(op_type, x.name, domain=DIALECT, levels=4)
        return net.tensor(name, "spikes", x, high=4)
    if op_type == "QuantUniform":
        scale = net.constant(np.float32(0.1))
        name = net.op(op_type, x.name, scale, domain=DIALECT, bits=8)
    elif op_type == "GlobalAveragePool" and x.layout == "image":
        x = net.as_image(x)
        name = net.op(op_type, net.view(x.name, (x.shape[0], *x.shape[2:])))
        name = net.view(name, (*x.shape[:3], 1, 1))
        return net.tensor(name, "potentials", x, (1, 1))
    else:
        name = net.op("Identity" if op_type == "GlobalAveragePool" else op_type, x.name)
    return net.tensor(name, x.kind, x, high=x.high)


# The ends of a network.


def _input(net: Net) -> tuple[list[int], Tensor]:
    """The frames' shape, and the quantized frames: an image."""
    steps = net.pick(2, 1, 3, 4, 16)
    channels = net.pick(1, 2, 3, 5, 33)
    height, width = net.pick((4, 4), (1, 1), (1, 7), (5, 3), (6, 6), (3, 8), (9, 9))
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


def _head(net: Net, x: Tensor) -> str:
    """Logits: a linear layer on the mean over time and positions, or at each step."""
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


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """A network of an input, some layers, and a head."""
    rare = draw(st.sampled_from([frozenset[str]()] * len(RARE) + [frozenset([r]) for r in RARE]))
    net = Net(draw, rare)
    given, x = _input(net)
    net.tensors.append(x)
    if net.chance(80):
        x = lif(net, conv(net, x))
        net.tensors.append(x)
    for _ in range(draw(st.integers(1, 6))):
        if net.chance(10):
            x = net.pick(*net.tensors)
        x = net.pick(*fitting(net, x))(net, x)
        net.tensors.append(x)
    if x.kind == "frames":
        x = lif(net, conv(net, x))
    logits = _head(net, x)
    passes = None
    if net.chance(15):
        mode, kernel = net.pick("auto", "exact", "guarded"), net.pick("planes", "event", "auto")
        passes = DEFAULT.replace("make-integer", f"make-integer{{mode={mode}}}")
        passes = passes.replace("choose-kernels", f"choose-kernels{{kernel={kernel}}}")
    return Network(_proto(net, given, logits), passes, tuple(sorted(rare)))


def _proto(net: Net, given: Sequence[int], logits: str) -> onnx.ModelProto:
    """The model file, with the bodies of the dialect's ops."""
    graph = helper.make_graph(
        net.nodes,
        "fuzzed",
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info(logits, TensorProto.FLOAT, net.shape(logits))],
        net.initializers,
        value_info=[
            helper.make_tensor_value_info(name, TensorProto.FLOAT, net.shape(name))
            for node in net.nodes
            for name in node.output
            if name != logits and net.data[name].dtype == np.float32
        ],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DIALECT, 1)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return ir.serde.serialize_model(attach_functions(ir.serde.deserialize_model(proto)))
