"""A network under construction: its nodes, and what every value is for one recording."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
import onnxruntime
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from hqc.dialect import DIALECT, OPSET, ops
from hqc.dialect.quant_uniform import code_range

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

    def number(self, low: int, high: int) -> int:
        """A whole number, both ends included; the least is the simplest."""
        return self.draw(st.integers(low, high))

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
        arrays = [self.data[i] for i in inputs if i]
        if domain == DIALECT:
            self.data[out] = _REFERENCES[op_type](*arrays, **attributes).astype(np.float32)
        else:
            self.data[out] = _run(node, arrays)
        return out

    def split(self, name: str, sizes: Sequence[int], axis: int, index: int) -> str:
        """One output of a Split; at times by so many outputs alike."""
        outs = [f"value_{len(self.data)}_{i}" for i in range(len(sizes))]
        inputs, attributes = [name, self.ints(*sizes)], {"axis": axis}
        node_name = f"Split_{len(self.data)}"
        if len(set(sizes)) == 1 and self.chance(50):
            inputs, attributes = [name], {"axis": axis, "num_outputs": len(sizes)}
        self.nodes.append(helper.make_node("Split", inputs, outs, name=node_name, **attributes))
        ends = np.cumsum(sizes)[:-1]
        for out, array in zip(outs, np.split(self.data[name], ends, axis), strict=True):
            self.data[out] = array
        return outs[index]

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

    def of(self, name: str, kind: str, high: int = 1) -> Tensor:
        """A value as a tensor whose positions its shape says: tokens are a row."""
        *_, rows, columns = shape = self.shape(name)
        positions = {5: (rows, columns), 4: (1, rows), 3: (1, 1)}[len(shape)]
        return Tensor(name, kind, shape, positions, high)

    def ints(self, *numbers: int) -> str:
        """A constant of whole numbers."""
        return self.constant(np.array(numbers, np.int64))

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
        return max(float(np.sqrt(np.mean(np.square(self.data[x.name].astype(np.float64))))), 1e-3)


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


def fires(x: Tensor) -> bool:
    """Whether it is spikes, or sums of them."""
    return x.kind == "spikes"
