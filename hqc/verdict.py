"""Whether rounding explains every spike by which an integer model differs from its float network.

Spikes that differ make all later ones differ too, for honest reasons, so the two cannot be compared
end to end. Layer by layer they can: the float network's neurons are given, in float64, what the
integer model's layer was given, and are reset where that one fired. Every spike that differs then
has a potential within the layer's proven bound of its threshold, or the integer model is wrong.
This needs no tolerance, and holds for untrained networks as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from hqc.copies import copy_model
from hqc.dialect import DIALECT, find_op
from hqc.dialect.facts import read_bound
from hqc.dialect.integer_lif import NEURONS
from hqc.dialect.quant_uniform import quant_uniform
from hqc.errors import VerificationError
from hqc.passes.fold_constants import FoldConstants
from hqc.passes.fold_quantizers import FoldQuantizers
from hqc.passes.spellings import Rewrite
from hqc.passes.spellings.interpolation import matrices

_SLACK = 2.0**-40
"""What float64 itself may round, as a part of what it handles: sums of up to 2^12 numbers."""


_COARSE = 1 / 8
"""The part of its threshold that a layer may be wrong by before that is reported."""


@dataclass(frozen=True)
class Unexplained:
    """A layer with spikes, or logits, that differ by more than rounding explains.

    `position` is the first of them; there the float network's potential less its threshold, or its
    logit less ours, is `distance`, and `bound` is what rounding explains.
    """

    layer: str
    count: int
    total: int
    position: tuple[int, ...]
    distance: float
    bound: float

    def __str__(self) -> str:
        place = ", ".join(map(str, self.position))
        return (
            f"layer {self.layer!r}: {self.count} of {self.total} are not explained by rounding; "
            f"the first, at [{place}], is {self.distance:.3g} away, where rounding explains "
            f"{self.bound:.3g}"
        )


class _Conv(OpRun):
    """Convolutions by numpy's matrix products, in float64."""

    op_domain = ""

    def _run(
        self, x, weights, bias=None, auto_pad=None, dilations=None, group=1, kernel_shape=None,
        pads=None, strides=None,
    ):  # fmt: skip
        seen = _windows(x, weights.shape[2:], auto_pad, pads, strides, dilations)
        rank = x.ndim - 2
        size = seen.shape[2 : 2 + rank]
        rows = weights.reshape(group, len(weights) // group, -1)
        sums = []
        for image in seen:  # one at a time, for the memory that copies of windows take
            channels, *positions = range(1 + rank)
            taps_first = image.transpose(channels, *range(1 + rank, 1 + 2 * rank), *positions)
            columns = taps_first.reshape(group, -1, int(np.prod(size)))
            sums.append((rows @ columns).reshape(-1, *size))
        y = np.stack(sums)
        return (y if bias is None else y + bias.reshape(-1, *[1] * rank),)


class _ConvTranspose(OpRun):
    """Transposed convolutions of images as they are defined: every pixel writes its window.

    onnx's own evaluator fails for groups. What hqc does not lower, dilations and `auto_pad`, is not
    met here.
    """

    op_domain = ""

    def _run(
        self, x, weights, bias=None, auto_pad=None, dilations=None, group=1, kernel_shape=None,
        output_padding=None, output_shape=None, pads=None, strides=None,
    ):  # fmt: skip
        steps, more = list(strides or [1, 1]), list(output_padding or [0, 0])
        sizes, taps = x.shape[2:], weights.shape[2:]
        whole = [(n - 1) * s + k + m for n, s, k, m in zip(sizes, steps, taps, more, strict=True)]
        begins, ends = list(pads or [0] * 4)[:2], list(pads or [0] * 4)[2:]
        if output_shape is not None:
            cut = [n - m for n, m in zip(whole, output_shape[-2:], strict=True)]
            begins = [n // 2 for n in cut]
            ends = [n - b for n, b in zip(cut, begins, strict=True)]
        each = weights.shape[1]
        y = np.zeros((len(x), group * each, *whole))
        images = x.reshape(len(x), group, -1, *sizes)
        kernels = weights.reshape(group, -1, *weights.shape[1:])
        for row, column in np.ndindex(*taps):
            written = np.einsum("ngchw,gco->ngohw", images, kernels[..., row, column])
            last = row + steps[0] * sizes[0], column + steps[1] * sizes[1]
            places = slice(row, last[0], steps[0]), slice(column, last[1], steps[1])
            y[..., *places] += written.reshape(len(x), group * each, *sizes)
        y = y[..., begins[0] : whole[0] - ends[0], begins[1] : whole[1] - ends[1]]
        return (y if bias is None else y + bias.reshape(-1, 1, 1),)


class _Pad(OpRun):
    """Padding, also by less than nothing, where onnx's own evaluator fails."""

    op_domain = ""

    def _run(self, x, pads, value=None, axes=None, mode=None):
        around = np.zeros((x.ndim, 2), int)
        around[range(x.ndim) if axes is None else axes] = np.reshape(pads, (2, -1)).T
        cut = -np.minimum(around, 0)
        x = x[tuple(slice(a, n - b) for n, (a, b) in zip(x.shape, cut, strict=True))]
        mode = mode or "constant"
        filled = {"constant_values": value or 0.0} if mode == "constant" else {}
        return (np.pad(x, np.maximum(around, 0), mode, **filled),)


class _MaxPool(OpRun):
    """Max-pooling by numpy's windows."""

    op_domain = ""

    def _run(
        self, x, auto_pad=None, ceil_mode=0, dilations=None, kernel_shape=None, pads=None,
        storage_order=0, strides=None,
    ):  # fmt: skip
        least = np.finfo(x.dtype).min
        seen = _windows(x, kernel_shape, auto_pad, pads, strides, dilations, least, ceil_mode)
        return (seen.max(tuple(range(x.ndim, seen.ndim))),)


def _windows(x, kernel, auto_pad, pads, strides, dilations, padding=0, ceil_mode=0) -> np.ndarray:
    """x [N, C, ...] -> [N, C, positions ..., taps ...], padded by ONNX's rules."""
    rank = x.ndim - 2
    strides, dilations = list(strides or [1] * rank), list(dilations or [1] * rank)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = _pads(auto_pad, pads, x.shape[2:], reach, strides)
    begins, ends = pads[:rank], pads[rank:]
    if ceil_mode:  # one more window, if it begins before the padding at the end
        for i, (n, r, s) in enumerate(zip(x.shape[2:], reach, strides, strict=True)):
            spare = (n + begins[i] + ends[i] - r) % s
            starts_inside = n + begins[i] + ends[i] - r - spare + s < n + begins[i]
            ends[i] += s - spare if spare and starts_inside else 0
    around = [(0, 0), (0, 0), *zip(begins, ends, strict=True)]
    padded = np.pad(x, around, constant_values=padding)
    axes = tuple(range(2, 2 + rank))
    seen = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=axes)
    every = tuple(slice(None, None, n) for n in (*strides, *dilations))
    return seen[(slice(None), slice(None), *every)]


def _pads(auto_pad, pads, size, kernel, strides) -> list[int]:
    """Begins, then ends."""
    if auto_pad in (None, "", "NOTSET", b"NOTSET"):
        return list(pads or [0] * 2 * len(size))
    if auto_pad == "VALID":
        return [0] * 2 * len(size)
    total = [
        max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(size, kernel, strides, strict=True)
    ]
    less, more = [t // 2 for t in total], [t - t // 2 for t in total]
    return more + less if auto_pad == "SAME_LOWER" else less + more


_OPS = {"Conv": _Conv, "ConvTranspose": _ConvTranspose, "MaxPool": _MaxPool, "Pad": _Pad}
for _name, _op in _OPS.items():
    _op.__name__ = _name


class FloatLayers:
    """A dialect model, layer by layer, in float64, on spikes that are given."""

    def __init__(self, dialect: ir.Model) -> None:
        model = FoldConstants().run(copy_model(dialect))
        self._input = model.graph.inputs[0].name
        self._outputs = len(model.graph.outputs)
        self._frames = _take_codes(model.graph)
        self.neurons = _cut(model.graph)
        self._rest = _float64(model, [n.input for n in self.neurons])

    def run(
        self, frames: np.ndarray, spikes: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The outputs, and what each layer of neurons takes in, where they fired as spikes say."""
        feeds = {self._input: frames.astype(np.float64)}
        feeds |= {quantized.name: quantized.of(frames) for quantized in self._frames}
        for neurons, fired in zip(self.neurons, spikes, strict=True):
            feeds[neurons.output] = fired.astype(np.float64).reshape(neurons.shape)
        with np.errstate(invalid="ignore"):  # what is not a number, no bound explains
            tensors = list(self._rest.run(None, feeds))
        return tensors[: self._outputs], tensors[self._outputs :]


class Verdict:
    """Compares an integer model with the dialect model that it was made from, run by run."""

    def __init__(self, dialect: ir.Model, integer: ir.Model) -> None:
        self._floats = FloatLayers(dialect)
        made = {n.name: n.outputs[0] for n in integer.graph}
        self._head = next(n for n in integer.graph if n.outputs[0].is_graph_output())
        self._spikes = [made.get(n.name) for n in self._floats.neurons]
        for neurons, value in zip(self._floats.neurons, self._spikes, strict=True):
            if value is None or read_bound(value) is None:
                raise VerificationError(
                    f"layer {neurons.name!r} has no counterpart with a proven bound among the "
                    "integer model's neurons"
                )

    @property
    def layers(self) -> list[str]:
        """The layers of neurons, in order."""
        return [n.name for n in self._floats.neurons]

    @property
    def coarse(self) -> dict[str, float]:
        """Layers whose spikes rounding may decide: the bound as a part of the threshold.

        Such a layer is right, and may be of little use.
        """
        parts = {
            neurons.name: float(read_bound(value).max() / neurons.attributes["v_threshold"])
            for neurons, value in zip(self._floats.neurons, self._spikes, strict=True)
            if neurons.attributes["v_threshold"] > 0
        }
        return {layer: part for layer, part in parts.items() if part > _COARSE}

    @property
    def watch(self) -> list[str]:
        """The integer model's values that `explain` takes, in order."""
        return [value.name for value in self._spikes]

    def explain(
        self, frames: np.ndarray, logits: np.ndarray, spikes: Sequence[np.ndarray]
    ) -> list[Unexplained]:
        """What rounding does not explain of a run of the integer model on those frames.

        `spikes` are the values of `watch`.
        """
        (expected,), inputs = self._floats.run(frames, spikes)
        found = []
        layers = zip(self._floats.neurons, self._spikes, inputs, spikes, strict=True)
        for neurons, value, x, fired in layers:
            distance, differs, slack = neurons.distances(x.reshape(fired.shape), fired)
            found += _unexplained(neurons.name, differs, distance, read_bound(value) + slack)
        distance = expected.reshape(logits.shape) - logits
        bound = read_bound(self._head.outputs[0]) + _SLACK * np.abs(expected).max(initial=0)
        return found + _unexplained(self._head.name, distance != 0, distance, bound)


def _unexplained(
    layer: str, differs: np.ndarray, distance: np.ndarray, bound: np.ndarray
) -> list[Unexplained]:
    bound = np.broadcast_to(bound, distance.shape)
    wrong = differs & ~(np.abs(distance) <= bound)
    if not wrong.any():
        return []
    at = tuple(int(i[0]) for i in np.nonzero(wrong))
    return [
        Unexplained(layer, int(wrong.sum()), wrong.size, at, float(distance[at]), float(bound[at]))
    ]


@dataclass(frozen=True)
class _Neurons:
    """A layer of neurons of the dialect, and the values it stood between."""

    name: str
    input: str
    output: str
    shape: tuple[int, ...]
    attributes: dict

    def distances(
        self, x: np.ndarray, fired: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Potentials less the threshold that they are on the wrong side of, if any, in float64.

        They are reset where `fired` says. Also which those are, and float64's slack. The arithmetic
        is that of the dialect's LIF, or IntegerLIF.
        """
        tau, threshold, reset = (
            np.float64(np.float32(self.attributes.get(n, 0)))
            for n in ("tau", "v_threshold", "v_reset")
        )
        levels, soft = self.attributes.get("levels"), self.attributes.get("soft_reset", 1)
        v = np.zeros(x.shape[1:])
        distance, differs = np.empty(x.shape), np.empty(x.shape, bool)
        largest = np.abs(threshold)
        for t, (x_t, s) in enumerate(zip(x, fired.astype(np.float64), strict=True)):
            v = v + (x_t - v) / tau if self.attributes["decay_input"] else v * (1 - 1 / tau) + x_t
            if levels is None:
                distance[t] = v - threshold
                differs[t] = (distance[t] >= 0) != (s > 0)
            else:
                below = np.where(s > 0, v - (s - 0.5) * threshold, np.inf)
                above = np.where(s < levels, v - (s + 0.5) * threshold, -np.inf)
                differs[t] = (below < 0) | (above > 0)
                distance[t] = np.where(below < 0, below, above)
            largest = np.maximum(largest, np.maximum(np.abs(v), np.abs(x_t)))
            v = np.where(s > 0, v - s * (threshold - reset) if soft else reset, v)
        return distance, differs, _SLACK * largest


@dataclass(frozen=True)
class _Frames:
    """The network's input, quantized: `codes` of the dialect's reference, times their scale."""

    name: str
    scale: np.ndarray
    attributes: dict

    def of(self, frames: np.ndarray) -> np.ndarray:
        """The frames as the network sees them, float64."""
        return quant_uniform(frames, self.scale, **self.attributes).astype(np.float64)


def _take_codes(graph: ir.Graph) -> list[_Frames]:
    """Take the input's quantizers out: what they gave becomes an input of the graph."""
    found = []
    for node in list(graph):
        if (node.domain, node.op_type) == (DIALECT, "QuantUniform") and node.inputs[
            0
        ].is_graph_input():
            scale, attributes = node.inputs[1].const_value.numpy(), find_op(node).attributes(node)
            found.append(_Frames(_as_input(graph, node).name, scale, attributes))
    return found


def _as_input(graph: ir.Graph, node: ir.Node) -> ir.Value:
    """Remove a node; its output becomes an input of the graph, in float64."""
    old = node.outputs[0]
    given = ir.Value(name=old.name, shape=old.shape, type=ir.TensorType(ir.DataType.DOUBLE))
    graph.inputs.append(given)
    old.replace_all_uses_with(given, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    return given


def _cut(graph: ir.Graph) -> list[_Neurons]:
    """Take the neurons out: what they gave becomes an input of the graph."""
    found = []
    for node in list(graph):
        if node.domain == DIALECT and node.op_type in NEURONS:
            attributes, x = find_op(node).attributes(node), node.inputs[0].name
            given = _as_input(graph, node)
            shape = tuple(given.shape.numpy())
            found.append(_Neurons(node.name, x, given.name, shape, attributes))
    return found


def _float64(model: ir.Model, watch: list[str]) -> ReferenceEvaluator:
    """The rest of the network, its float32 weights as they are, computed in float64.

    What interpolates has weights too: the coefficients that onnxruntime makes, in float32. `watch`
    names values that are outputs too.
    """
    model = FoldQuantizers().run(model)
    for node in list(model.graph):
        if (node.domain, node.op_type) == ("", "Resize"):
            matrices(Rewrite(model.graph, node))
    for node in model.graph:
        if node.op_type == "Cast" and node.attributes["to"].value == ir.DataType.FLOAT:
            node.attributes["to"] = ir.AttrInt64("to", ir.DataType.DOUBLE)
    for value in model.graph.initializers.values():
        array = value.const_value.numpy()
        if array.dtype == np.float32:
            value.const_value = ir.tensor(array.astype(np.float64), name=value.name)
    model.functions.clear()
    proto = ir.serde.serialize_model(model)
    del proto.graph.value_info[:]
    for name in watch:
        proto.graph.output.add().name = name
    return ReferenceEvaluator(proto, new_ops=list(_OPS.values()))
