"""NIR: what it can say of a network, for neuromorphic chips and the libraries that read it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT, Op, find_op
from hqc.errors import UnsupportedModelError, UserError
from hqc.exporters.exporter import Wanted, exporter
from hqc.importers.nir.conventions import DT, QUANTIZER, below, described, in_steps, quantizer_of
from hqc.passes import parse_pipeline, run_passes
from hqc.passes.axes import Axes, Factor, axes, coordinates, reshape
from hqc.passes.graph import constant, integer, ints, unsupported
from hqc.passes.integer_rules.arithmetic import batch_norm

_POOLS = "pool by sums or means, which chips and NIR have"


@exporter("nir", "a NIR graph", takes=("dt",))
def write_nir(model: ir.Model, path: Path, wanted: Wanted) -> None:
    """Write what each time step computes; the logits are its Output, summed over the steps.

    BatchNorm goes into the layer before it, the mean over time into the weights behind it. Of
    quantizers the rounded numbers stay, and metadata that `hqc import` reads them back from.
    Raises `UserError`, naming the node, for what NIR cannot say.
    """
    try:
        import nir
    except ImportError:
        raise UserError(
            "writing NIR needs the package nir", hint="pip install 'hqc[nir]'"
        ) from None
    dt = DT if wanted.dt is None else wanted.dt
    model = run_passes(model, parse_pipeline("fold-constants"))
    network = _Network(model.graph, dt)
    for node in model.graph:
        network.add(node)
    nir.write(path, network.finish())


@dataclass(frozen=True)
class _Stream:
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
class _Constant:
    """Numbers, and the quantizer that made them, if one did: op, scale and attributes."""

    array: np.ndarray
    quantizer: tuple[Op, np.ndarray, dict] | None = None


_Rule = Callable[["_Network", ir.Node], None]

_RULES: dict[tuple[str, str], _Rule] = {}


def _rule(*ops: str, domain: str = "") -> Callable[[_Rule], _Rule]:
    def register(function: _Rule) -> _Rule:
        _RULES.update({(domain, op): function for op in ops})
        return function

    return register


@dataclass
class _Network:
    """A graph in the making."""

    graph: ir.Graph
    dt: float
    nodes: dict[str, Any] = field(default_factory=dict)
    edges: dict[tuple[str, str], None] = field(default_factory=dict)
    streams: dict[ir.Value, _Stream] = field(default_factory=dict)
    constants: dict[ir.Value, _Constant] = field(default_factory=dict)

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
        view = (*axes(("T", steps), None), *_lie(frames.shape.numpy()[2:]))
        self.input = _plain(frames.name)
        self.nodes[self.input] = nir.Input(np.array(shape))
        self.streams[frames] = _Stream((self.input,), tuple(shape), view)

    def add(self, node: ir.Node) -> None:
        """Add what a node computes. Raises `UnsupportedModelError` for what NIR has not."""
        if (node.domain, node.op_type) not in _RULES:
            hint = _POOLS if node.op_type == "MaxPool" else None
            raise unsupported(node, "NIR has no such node", hint)
        _RULES[node.domain, node.op_type](self, node)

    def read(self, node: ir.Node, index: int = 0) -> _Stream:
        """A computed operand."""
        value = node.inputs[index]
        if value not in self.streams:
            raise unsupported(node, f"its operand {index} is a constant, which no node of NIR is")
        return self.streams[value]

    def known(self, value: ir.Value | None) -> _Constant | None:
        """A constant operand, None for a computed one."""
        if value in self.constants:
            return self.constants[value]
        array = constant(value)
        return None if array is None else _Constant(array)

    def give(self, node: ir.Node, stream: _Stream) -> None:
        """What the node's output is."""
        self.streams[node.outputs[0]] = stream

    def emit(
        self, name: str, made: Any, x: _Stream, shape: Sequence[int], view: Axes | None = None
    ) -> _Stream:
        """A NIR node behind a stream. Without a view its output lies as its shape says."""
        name = _plain(name)
        while name in self.nodes:
            name = f"{name}_"
        self.nodes[name] = made
        self.edges |= dict.fromkeys((source, name) for source in x.sources)
        found = self.lying(x.time, shape) if view is None else view
        return replace(x, sources=(name,), shape=tuple(shape), view=found, alone=True)

    def lying(self, time: bool, shape: Sequence[int]) -> Axes:
        """The axes [T, *shape] of a tensor in order; of one time step without time."""
        return (*axes(("T", self.steps) if time else None), *_lie(shape))

    def flat(self, node: ir.Node, x: _Stream) -> _Stream:
        """A stream of one axis, through a Flatten where it has more."""
        import nir

        if len(x.shape) < 2:
            return x
        size = math.prod(x.shape)
        made = nir.Flatten({"input": np.array(x.shape)}, 0, -1)
        return self.emit(f"{node.name}.flatten", made, x, (size,), x.view)

    def image(self, node: ir.Node, rank: int) -> _Stream:
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

    def per_element(self, node: ir.Node, x: _Stream, array: np.ndarray) -> np.ndarray:
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


def _lie(shape: Sequence[int]) -> Axes:
    """Axes that lie one inside the other."""
    inner = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    return tuple(
        (Factor("E", n, stride),) if n > 1 else () for n, stride in zip(shape, inner, strict=True)
    )


def _plain(name: str) -> str:
    """A name without what HDF5 reads as a path."""
    return name.replace("/", ".").strip(".") or "node"


def _seen(node: ir.Node, x: _Stream, view: Axes) -> _Stream:
    """The stream of a node's first operand, in another view."""
    return replace(x, view=view, alone=x.alone and _read_once(node.inputs[0]))


def _read_once(value: ir.Value) -> bool:
    return len(value.uses()) == 1 and not value.is_graph_output()


@_rule("QuantUniform", "QuantPow2", domain=DIALECT)
def _quantizer(net: _Network, node: ir.Node) -> None:
    """Of constants, or of the frames."""
    op, scale = find_op(node), constant(node.inputs[1])
    if scale is None:
        raise unsupported(node, "its scale is computed")
    attributes = {k: v for k, v in op.attributes(node).items() if isinstance(v, int)}
    known = net.known(node.inputs[0])
    if known is not None:
        array = op.reference(known.array, scale, **attributes)
        net.constants[node.outputs[0]] = _Constant(array, (op, scale.reshape(-1), attributes))
        return
    x = net.read(node)
    if x.sources != (net.input,) or scale.size != 1:
        raise unsupported(node, "NIR has no quantizers between layers")
    said = described(op, scale.reshape(()), {**attributes, "axis": 0})
    net.nodes[net.input].metadata[QUANTIZER] = said
    net.give(node, x)


@_rule("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")
def _view(net: _Network, node: ir.Node) -> None:
    x = net.read(node)
    view = reshape(x.view, node.outputs[0].shape.numpy())
    if view is None:
        raise unsupported(node, "its axes cannot be followed")
    net.give(node, _seen(node, x, view))


@_rule("Transpose")
def _transpose(net: _Network, node: ir.Node) -> None:
    x = net.read(node)
    order = ints(node, "perm", range(len(x.view))[::-1])
    net.give(node, _seen(node, x, tuple(x.view[i] for i in order)))


@_rule("LIF", domain=DIALECT)
def _neurons(net: _Network, node: ir.Node) -> None:
    """Neurons that are set to a value, without a memory as a threshold."""
    import nir

    x, said = net.read(node), find_op(node).attributes(node)
    if not x.time or x.view[0] != axes(("T", net.steps))[0]:
        raise unsupported(node, "its first axis is not time")

    def each(number: float) -> np.ndarray:
        return np.full(x.shape, number, np.float32)

    level = each(below(said["v_threshold"]))
    if said["tau"] == 1:
        made: Any = nir.Threshold(level)
    elif said["soft_reset"]:
        raise unsupported(
            node, "its neurons are reset by subtraction, and NIR's are set to v_reset",
            "train with a hard reset, e.g. v_reset=0",
        )  # fmt: skip
    elif math.isinf(said["tau"]):
        made = nir.IF(each(1), level, each(said["v_reset"]))
    else:
        tau, resistance = _seconds(said["tau"], net.dt), 1 if said["decay_input"] else said["tau"]
        settings = {"v_threshold": level, "v_reset": each(said["v_reset"])}
        made = nir.LIF(tau=np.full(x.shape, tau), r=each(resistance), v_leak=each(0), **settings)
    net.give(node, net.emit(node.name, made, x, x.shape, x.view))


def _seconds(steps: float, dt: float) -> np.floating:
    """So many steps, to be read as that float32 again: a float32 where there is one."""
    seconds = np.float32(steps * dt)
    same = in_steps(np.array(seconds), dt).astype(np.float32) == np.float32(steps)
    return seconds if same else np.float64(steps) * dt


@_rule("Conv")
def _conv(net: _Network, node: ir.Node) -> None:
    """A convolution, or the sum of each window where its weights are ones."""
    import nir

    weight = _weight(net, node, 1)
    window = weight.array.shape[2:]
    if len(window) not in (1, 2):
        raise unsupported(node, f"its window has {len(window)} axes; NIR has 1 and 2")
    x, shape = net.image(node, len(window)), node.outputs[0].shape.numpy()[1:]
    auto = node.attributes.get("auto_pad")
    pads = ints(node, "pads", [0] * 2 * len(window))
    if (auto is not None and auto.value not in ("NOTSET", "VALID")) or pads[: len(window)] != pads[
        len(window) :
    ]:
        raise unsupported(
            node, "NIR has as many zeros before an axis as behind it", "pad both sides alike"
        )
    padding, groups = pads[: len(window)], integer(node, "group", 1)
    strides, dilations = (ints(node, key, [1] * len(window)) for key in ("strides", "dilations"))
    bias = _bias(net, node, x, shape[0])
    depthwise = groups == weight.array.shape[0] == x.shape[0] and len(window) == 2
    plain = depthwise and set(dilations) == {1} and not bias.any()
    if plain and (weight.array == 1).all():
        made: Any = nir.SumPool2d(*(np.array(n) for n in (window, strides, padding)))
        net.give(node, net.emit(node.name, made, x, shape))
        return
    array, metadata = _rescaled(weight, np.full(shape[0], x.factor))
    settings = {"weight": array, "groups": groups, "bias": bias, "metadata": metadata}
    if len(window) == 1:
        (stride,), (pad,), (dilation,) = strides, padding, dilations
        sizes: dict[str, Any] = {"stride": stride, "padding": pad, "dilation": dilation}
        made = nir.Conv1d(input_shape=x.shape[1], **sizes, **settings)
    else:
        sizes = {"stride": tuple(strides), "padding": tuple(padding), "dilation": tuple(dilations)}
        made = nir.Conv2d(input_shape=x.shape[1:], **sizes, **settings)
    net.give(node, net.emit(node.name, made, replace(x, factor=1.0), shape))


@_rule("AveragePool", "GlobalAveragePool")
def _average(net: _Network, node: ir.Node) -> None:
    import nir

    x, shape = net.image(node, 2), node.outputs[0].shape.numpy()[1:]
    everything = node.op_type == "GlobalAveragePool"
    window = x.shape[1:] if everything else ints(node, "kernel_shape", ())
    strides = window if everything else ints(node, "strides", [1, 1])
    pads = ints(node, "pads", [0] * 4)
    auto = node.attributes.get("auto_pad")
    if (
        pads[:2] != pads[2:]
        or (any(pads) and not integer(node, "count_include_pad", 0))
        or integer(node, "ceil_mode", 0)
        or set(ints(node, "dilations", [1])) != {1}
        or (auto is not None and auto.value not in ("NOTSET", "VALID"))
    ):
        raise unsupported(
            node, "NIR's means count the zeros around, as many on both sides",
            "pool without padding and ceil_mode",
        )  # fmt: skip
    made = nir.AvgPool2d(*(np.array(n) for n in (window, strides, pads[:2])))
    net.give(node, net.emit(node.name, made, x, shape))


@_rule("Gemm")
def _gemm(net: _Network, node: ir.Node) -> None:
    weight = _weight(net, node, 1)
    factors = [node.attributes[k].value for k in ("alpha", "beta") if k in node.attributes]
    if integer(node, "transA", 0) or any(f != 1 for f in factors):
        raise unsupported(node, "its alpha and beta are not 1, or its input is transposed")
    _linear(net, node, weight if integer(node, "transB", 0) else _turned(weight))


@_rule("MatMul")
def _matmul(net: _Network, node: ir.Node) -> None:
    _linear(net, node, _turned(_weight(net, node, 1)))


def _linear(net: _Network, node: ir.Node, weight: _Constant) -> None:
    """A product with [out, in] of all elements of a time step."""
    import nir

    x, outputs = net.read(node), weight.array.shape[0]
    (row,) = _lie((math.prod(x.shape),))
    steps = axes(("T", net.steps) if x.time else None)
    given = [axis for axis in x.view[:-1] if axis]
    if weight.array.ndim != 2 or x.view[-1] != row or given != [a for a in steps if a]:
        raise unsupported(
            node, "it does not read all elements of a time step", "NIR's products do, flattened"
        )
    x = net.flat(node, x)
    bias = _bias(net, node, x, outputs) if node.op_type == "Gemm" else np.zeros(outputs, np.float32)
    array, metadata = _rescaled(weight, np.full(outputs, x.factor))
    if bias.any():
        made: Any = nir.Affine(array, bias, metadata=metadata)
    else:
        made = nir.Linear(array, metadata=metadata)
    view = (*x.view[:-1], *_lie((outputs,)))
    net.give(node, net.emit(node.name, made, replace(x, factor=1.0), (outputs,), view))


@_rule("Add")
def _add(net: _Network, node: ir.Node) -> None:
    """A sum of two streams, which edges are; or of one and constants, a layer's bias."""
    import nir

    known = [net.known(value) for value in node.inputs]
    for index, found in enumerate(known):
        if found is not None:
            x = net.read(node, 1 - index)
            _shift(net, node, x, np.ones(x.shape), net.per_element(node, x, found.array), 1 - index)
            return
    a, b = net.read(node, 0), net.read(node, 1)
    if a.shape != b.shape:
        a, b = net.flat(node, a), net.flat(node, b)
    alike = (a.shape, a.view, a.time, a.factor) == (b.shape, b.view, b.time, b.factor)
    if not alike or node.inputs[0].shape != node.inputs[1].shape:
        raise unsupported(node, "what it adds up is not of one shape, or of different means")
    if set(a.sources) & set(b.sources):  # an edge leads there once
        one = nir.Scale(np.ones(b.shape, np.float32))
        b = net.emit(f"{node.name}.again", one, b, b.shape, b.view)
    net.give(node, replace(a, sources=(*a.sources, *b.sources)))


@_rule("Mul", "Div")
def _mul(net: _Network, node: ir.Node) -> None:
    """A factor for each element."""
    known = [net.known(value) for value in node.inputs]
    indices = [i for i, found in enumerate(known) if found is not None]
    if len(indices) != 1 or (node.op_type == "Div" and indices != [1]):
        raise unsupported(node, "NIR multiplies by constants only")
    x = net.read(node, 1 - indices[0])
    factor = net.per_element(node, x, known[indices[0]].array)
    scale = 1 / factor if node.op_type == "Div" else factor
    _shift(net, node, x, scale, np.zeros(x.shape), 1 - indices[0])


@_rule("BatchNormalization")
def _norm(net: _Network, node: ir.Node) -> None:
    x, (scale, shift) = net.read(node), batch_norm(node)
    shape = [-1] + [1] * (len(node.inputs[0].shape) - 2)
    factor, offset = (net.per_element(node, x, a.reshape(shape)) for a in (scale, shift))
    _shift(net, node, x, factor, offset, 0)


def _shift(
    net: _Network, node: ir.Node, x: _Stream, scale: np.ndarray, shift: np.ndarray, index: int
) -> None:
    """scale * x + shift, by element: into the layer before, if nothing else reads that."""
    import nir

    made = net.nodes[x.sources[0]]
    shift = shift / (x.factor * (1 if x.time else net.steps))
    layers = (nir.Affine, nir.Linear, nir.Conv1d, nir.Conv2d)
    channels = [a.reshape(len(a), -1) for a in (scale, shift)]
    alone = len(x.sources) == 1 and x.alone and _read_once(node.inputs[index])
    if alone and isinstance(made, layers) and all((c == c[:, :1]).all() for c in channels):
        factor, offset = (c[:, 0] for c in channels)
        source = _Constant(made.weight, quantizer_of(made.metadata.get(QUANTIZER)))
        array, metadata = _rescaled(source, factor)
        bias = getattr(made, "bias", 0) * factor + offset
        if isinstance(made, nir.Linear):
            made = nir.Affine(array, np.broadcast_to(bias, factor.shape).astype(np.float32))
        else:
            made.weight, made.bias = array, bias.astype(np.float32)
        made.metadata = metadata
        net.nodes[x.sources[0]] = made
        net.give(node, x)
    elif not shift.any():
        made = nir.Scale(scale.astype(np.float32))
        net.give(node, net.emit(node.name, made, x, x.shape, x.view))
    else:
        raise unsupported(
            node, "it adds to what is no layer's output, or is read elsewhere, too",
            "NIR adds constants as biases of layers only",
        )  # fmt: skip


@_rule("ReduceMean", "ReduceSum")
def _reduced(net: _Network, node: ir.Node) -> None:
    """Over time, over all positions, or both."""
    x, rank = net.read(node), len(node.inputs[0].shape)
    given = None if len(node.inputs) < 2 else constant(node.inputs[1])
    over = sorted({int(a) % rank for a in (range(rank) if given is None else given.reshape(-1))})
    mean = node.op_type == "ReduceMean"
    factors = [f for i in over for f in x.view[i]]
    steps = [f for f in factors if f.root == "T"]
    inner = [f for f in factors if f.root == "E"]
    if steps and steps != list(axes(("T", net.steps))[0]):
        raise unsupported(node, "it sums up some of the time steps")
    kept = integer(node, "keepdims", 1)
    view = tuple(
        () if i in over else axis for i, axis in enumerate(x.view) if kept or i not in over
    )
    if inner:
        x, view = _over_positions(net, node, x, inner, view, mean)
    if x.time and steps:
        x = replace(x, time=False, factor=1 / net.steps if mean else 1.0)
    net.give(node, _seen(node, x, view))


def _over_positions(
    net: _Network, node: ir.Node, x: _Stream, inner: list[Factor], view: Axes, mean: bool
) -> tuple[_Stream, Axes]:
    """A pool whose window is the image, and how the rest lies behind it."""
    import nir

    size = math.prod(x.shape[1:])
    ends = sorted((f.stride, f.size) for f in inner)
    reached = 1
    for stride, count in ends:
        reached = reached * count if stride == reached else 0
    if len(x.shape) != 3 or reached != size:
        raise unsupported(
            node, f"it takes some axes of {list(x.shape)}", "NIR pools over height and width"
        )
    pool = nir.AvgPool2d if mean else nir.SumPool2d
    window = np.array(x.shape[1:])
    made = pool(window, window, np.array([0, 0]))
    rest = tuple(
        tuple(replace(f, stride=f.stride // size) if f.root == "E" else f for f in axis)
        for axis in view
    )
    return net.emit(node.name, made, x, (x.shape[0], 1, 1), rest), rest


def _weight(net: _Network, node: ir.Node, index: int) -> _Constant:
    found = net.known(node.inputs[index])
    if found is None:
        raise unsupported(
            node, "its weights are computed, or multiply across time steps, which NIR has not"
        )
    return found


def _turned(weight: _Constant) -> _Constant:
    """Weights [in, out] as [out, in]."""
    if weight.array.ndim != 2 or weight.quantizer is None:
        return _Constant(weight.array.T)
    op, scale, attributes = weight.quantizer
    axis = 1 - attributes["axis"] % 2 if scale.size > 1 else 0
    return _Constant(weight.array.T, (op, scale, {**attributes, "axis": axis}))


def _bias(net: _Network, node: ir.Node, x: _Stream, outputs: int) -> np.ndarray:
    """A bias a time step, float32 [outputs]."""
    value = node.inputs[2] if len(node.inputs) > 2 else None
    if value is None:
        return np.zeros(outputs, np.float32)
    found = net.known(value)
    if found is None or found.array.size not in (1, outputs):
        raise unsupported(node, "its bias is computed, or one of several rows")
    bias = np.broadcast_to(found.array.reshape(-1), outputs)
    return (bias / (1 if x.time else net.steps)).astype(np.float32)


def _rescaled(weight: _Constant, factor: np.ndarray) -> tuple[np.ndarray, dict]:
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
