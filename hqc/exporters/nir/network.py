"""A NIR graph in the making: what tensors are in it, and which rule writes a node."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from hqc.dialect import Op
from hqc.errors import UnsupportedModelError
from hqc.importers.nir.conventions import QUANTIZER, described
from hqc.passes.axes import Axes, Factor, axes, coordinates
from hqc.passes.graph import constant, unsupported

_POOLS = "pool by sums or means, which chips and NIR have"


@dataclass(frozen=True)
class Stream:
    """A tensor as NIR has it: the sum of some nodes' outputs of a shape, at each time step.

    `view` says where its elements lie: T is time, E the elements of a step, in order. Where `time`
    is not set it is that value summed over time and multiplied by `factor`. `alone` says that
    nothing else reads what it is a view of.
    """

    sources: tuple[str, ...]
    shape: tuple[int, ...]
    view: Axes
    time: bool = True
    factor: float = 1.0
    alone: bool = True


@dataclass(frozen=True)
class Constant:
    """Numbers, and the quantizer that made them, if one did: op, scale and attributes."""

    array: np.ndarray
    quantizer: tuple[Op, np.ndarray, dict] | None = None


Rule = Callable[["Network", ir.Node], None]

_RULES: dict[tuple[str, str], Rule] = {}


def writes(*ops: str, domain: str = "") -> Callable[[Rule], Rule]:
    """Register the decorated function as what writes nodes of these ops."""

    def register(function: Rule) -> Rule:
        _RULES.update({(domain, op): function for op in ops})
        return function

    return register


@dataclass
class Network:
    """A graph in the making."""

    graph: ir.Graph
    dt: float
    nodes: dict[str, Any] = field(default_factory=dict)
    edges: dict[tuple[str, str], None] = field(default_factory=dict)
    streams: dict[ir.Value, Stream] = field(default_factory=dict)
    constants: dict[ir.Value, Constant] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import nir

        (frames,) = self.graph.inputs
        steps, batch, *shape = frames.shape.numpy()
        if batch != 1:
            raise UnsupportedModelError(
                f"input {frames.name!r} is {list(frames.shape.numpy())}",
                hint="NIR takes frames [T, 1, C, H, W]",
            )
        while len(shape) > 1 and shape[-1] == 1:
            shape.pop()
        self.steps = steps
        view = (*axes(("T", steps), None), *lie(frames.shape.numpy()[2:]))
        self.input = plain(frames.name)
        self.nodes[self.input] = nir.Input(np.array(shape))
        self.streams[frames] = Stream((self.input,), tuple(shape), view)

    def add(self, node: ir.Node) -> None:
        """Add what a node computes. Raises `UnsupportedModelError` for what NIR has not."""
        if (node.domain, node.op_type) not in _RULES:
            hint = _POOLS if node.op_type == "MaxPool" else None
            raise unsupported(node, "NIR has no such node", hint)
        _RULES[node.domain, node.op_type](self, node)

    def read(self, node: ir.Node, index: int = 0) -> Stream:
        """A computed operand."""
        value = node.inputs[index]
        if value not in self.streams:
            raise unsupported(node, f"its operand {index} is a constant, which no node of NIR is")
        return self.streams[value]

    def known(self, value: ir.Value | None) -> Constant | None:
        """A constant operand, None for a computed one."""
        if value in self.constants:
            return self.constants[value]
        array = constant(value)
        return None if array is None else Constant(array)

    def give(self, node: ir.Node, stream: Stream) -> None:
        """What the node's output is."""
        self.streams[node.outputs[0]] = stream

    def emit(
        self, name: str, made: Any, x: Stream, shape: Sequence[int], view: Axes | None = None
    ) -> Stream:
        """A NIR node behind a stream. Without a view its output lies as its shape says."""
        name = plain(name)
        while name in self.nodes:
            name = f"{name}_"
        self.nodes[name] = made
        self.edges |= dict.fromkeys((source, name) for source in x.sources)
        found = self.lying(x.time, shape) if view is None else view
        return replace(x, sources=(name,), shape=tuple(shape), view=found, alone=True)

    def lying(self, time: bool, shape: Sequence[int]) -> Axes:
        """The axes [T, *shape] of a tensor in order; of one time step without time."""
        return (*axes(("T", self.steps) if time else None), *lie(shape))

    def flat(self, node: ir.Node, x: Stream) -> Stream:
        """A stream of one axis, through a Flatten where it has more."""
        import nir

        if len(x.shape) < 2:
            return x
        size = math.prod(x.shape)
        made = nir.Flatten({"input": np.array(x.shape)}, 0, -1)
        return self.emit(f"{node.name}.flatten", made, x, (size,), x.view)

    def image(self, node: ir.Node, rank: int) -> Stream:
        """An operand as channels and positions, in the order in which they lie."""
        x = self.read(node)
        shape = tuple(node.inputs[0].shape.numpy()[1:])
        same = x.shape == shape and x.view == self.lying(x.time, shape)
        if len(shape) != rank + 1 or not same:
            raise unsupported(
                node, f"what it reads, {list(x.shape)} in NIR, is viewed as {list(shape)}",
                "NIR flattens, and has no other view",
            )  # fmt: skip
        return x

    def per_element(self, node: ir.Node, x: Stream, array: np.ndarray) -> np.ndarray:
        """Constants that broadcast against a tensor, as an array of the stream's shape."""
        tensor = node.outputs[0].shape.numpy()
        if len(x.view) != len(tensor) or array.ndim > len(tensor):
            raise unsupported(node, "its numbers have more axes than what they go with")
        array = array.reshape((1,) * (len(tensor) - array.ndim) + array.shape)
        timeless = [
            1 if any(f.root == "T" for f in axis) else n
            for axis, n in zip(x.view, tensor, strict=True)
        ]
        try:
            spread = np.broadcast_to(array, timeless)
        except ValueError:
            raise unsupported(node, "its numbers differ by time step, or repeat it") from None
        found = np.empty(math.prod(x.shape))
        found[coordinates(x.view, "E").reshape(-1)] = spread.reshape(-1)
        return found.reshape(x.shape)

    def finish(self) -> Any:
        """The graph, with its Output."""
        import nir

        (logits,) = self.graph.outputs
        x = self.streams.get(logits)
        node = logits.producer()
        if x is None or (x.time and self.steps > 1):
            raise unsupported(
                node, "the logits are not a sum or a mean over time",
                "NIR gives a value each time step, of which hqc takes the sum",
            )  # fmt: skip
        if x.factor != 1:
            scale = nir.Scale(np.full(x.shape, x.factor, np.float32))
            x = self.emit(f"{logits.name}.scale", scale, x, x.shape, x.view)
        self.emit(logits.name, nir.Output(np.array(x.shape)), x, x.shape, x.view)
        metadata = {"dt": self.dt, "time_steps": self.steps}
        edges = [(a, b) for a, b in self.edges]
        return nir.NIRGraph(self.nodes, edges, metadata=metadata, type_check=False)


def lie(shape: Sequence[int]) -> Axes:
    """Axes that lie one inside the other."""
    inner = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    return tuple(
        (Factor("E", n, stride),) if n > 1 else () for n, stride in zip(shape, inner, strict=True)
    )


def plain(name: str) -> str:
    """A name without what HDF5 reads as a path."""
    return name.replace("/", ".").strip(".") or "node"


def seen(node: ir.Node, x: Stream, view: Axes) -> Stream:
    """The stream of a node's first operand, in another view."""
    return replace(x, view=view, alone=x.alone and read_once(node.inputs[0]))


def read_once(value: ir.Value) -> bool:
    """Whether nothing else reads it."""
    return len(value.uses()) == 1 and not value.is_graph_output()


def rescaled(weight: Constant, factor: np.ndarray) -> tuple[np.ndarray, dict]:
    """Weights times a factor for each output, and what their node's metadata say of them."""
    each = factor.reshape(-1, *[1] * (weight.array.ndim - 1))
    array = (weight.array * each).astype(np.float32)
    if weight.quantizer is None or not factor.all():
        return array, {}
    op, scale, attributes = weight.quantizer
    scale = np.atleast_1d(scale)
    if (factor == factor[0]).all():
        scale = scale * abs(factor[0])
    elif attributes["axis"] == 0 or scale.size == 1:
        scale, attributes = scale * np.abs(factor), {**attributes, "axis": 0}
    else:
        return array, {}
    scale = scale.astype(np.float32)
    rounded = op.reference(array, scale, **attributes).astype(np.float32)
    if not np.allclose(rounded, array, rtol=1e-5, atol=0):
        return array, {}
    return rounded, {QUANTIZER: described(op, scale if scale.size > 1 else scale[0], attributes)}
