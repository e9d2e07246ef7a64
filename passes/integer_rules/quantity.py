"""What a float tensor of the dialect becomes: an integer tensor and what its numbers stand for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.dialect.facts import Facts, Kind, by_channel
from hqc.dialect.intervals import RangeError, rescale_interval
from hqc.dialect.metadata import MADE_FOR
from hqc.dialect.quant_uniform import along
from hqc.passes.axes import VIEWS, Axes, axes, size_of, spell
from hqc.passes.graph import GraphBuilder, constant, mixes_time, unsupported, where
from hqc.passes.integer_rules.streams import Stream

BITS, SCHEME = "hqc.bits", "hqc.scheme"
"""Metadata keys of an initializer of weight codes: how a code is stored."""

_MOVES = {
    *("Concat", "Expand", "Gather", "Pad", "ReduceSum", "Relu", "Slice"),
    *("JoinSteps", "SplitSteps"),
}
"""Ops whose integers have the unit of their input."""

K, V = TypeVar("K"), TypeVar("V")
Mark = tuple[tuple[int, int], int, tuple[int, ...]]

FINE = 2.0**-16
"""What of a threshold is too little to matter: no finer potentials are asked for.

Measured on an MS-ResNet18 of random weights, whose potentials convolutions read: 12 bits below a
threshold move the logits by their own spread, 16 by nothing.
"""


@dataclass(frozen=True)
class Weights:
    """Weights: codes, integers as floats, times scale (a number or one per `axis`).

    `rounding` is how far each is from the float network's weight, which is a float32.
    """

    codes: np.ndarray
    scale: np.ndarray
    axis: int
    bits: int
    scheme: str
    rounding: np.ndarray

    def per_channel(self, axis: int) -> bool:
        """Whether the scale varies along no axis but this one."""
        return self.scale.size == 1 or self.axis == axis

    def transposed(self, perm: list[int]) -> Weights:
        """The same weights with their axes permuted."""
        codes, rounding = (a.transpose(perm) for a in (self.codes, self.rounding))
        return replace(self, codes=codes, rounding=rounding, axis=perm.index(self.axis))

    def reshaped(self, shape: Sequence[int]) -> Weights | None:
        """The same weights in another shape; None where that splits or merges the scales' axis."""
        before = math.prod(self.codes.shape[: self.axis])
        size = self.codes.shape[self.axis]
        places = [i for i, n in enumerate(shape) if n == size and math.prod(shape[:i]) == before]
        if self.scale.size > 1 and not places:
            return None
        axis = places[-1] if places else 0
        codes, rounding = (a.reshape(shape) for a in (self.codes, self.rounding))
        return replace(self, codes=codes, rounding=rounding, axis=axis)


@dataclass(frozen=True)
class Quantity:
    """The float tensor is `value` * scale + offset, with low <= value <= high, all proven.

    `scale`, `offset`, `low`, `high` and `error` are numbers or vectors along the channels. `error`
    bounds how far the float tensor may be from that. `view` says which axes the tensor has.
    `weights` is the initializer of the codes that `value` was summed from, whose outputs are along
    `weights_axis`; it lets a channel of negative scale be negated.
    """

    value: ir.Value
    kind: Kind
    view: Axes
    scale: np.ndarray
    offset: np.ndarray
    low: np.ndarray
    high: np.ndarray
    error: np.ndarray
    weights: ir.Value | None = None
    weights_axis: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""
        return tuple(self.value.shape.numpy())

    @property
    def reach(self) -> int:
        """The largest magnitude of the integers."""
        return int(max(np.abs(self.low).max(), np.abs(self.high).max()))

    @property
    def float_reach(self) -> np.ndarray:
        """The largest magnitude of the floats, a number or one a channel."""
        return np.maximum(np.abs(self.low), np.abs(self.high)) * np.abs(self.scale) + np.abs(
            self.offset
        )

    @property
    def spelled(self) -> str:
        """What it holds, as messages say it."""
        simple = self.is_plain or self.kind in ("sums", "potentials")
        return self.kind if simple else f"{self.kind} that are scaled or shifted"

    @property
    def channels(self) -> int:
        """Channels that the numbers differ by; 1 where they do not."""
        return max(np.size(a) for a in (self.scale, self.offset, self.low, self.high, self.error))

    @property
    def channel_axis(self) -> int | None:
        """The axis that is all channels and nothing else; None if there is none."""
        return channel_axis(self.view)

    def is_channels(self, axis: int) -> bool:
        """Whether an axis is all channels and nothing else."""
        return self.view[axis] == axes(("C", size_of(self.view, "C")))[0]

    @property
    def is_image(self) -> bool:
        """Whether the axes are [T, C, H, W], none of them a part of one."""
        whole = ((root, size_of(self.view, root)) for root in "TCYX")
        return self.view == axes(*whole)

    @property
    def is_bytes(self) -> bool:
        """Whether the integers are spikes, levels or frames in bytes, times one number."""
        return self.is_plain and self.value.dtype in (ir.DataType.UINT8, ir.DataType.INT8)

    @property
    def can_be_thresholded(self) -> bool:
        """Whether neurons can read the integers as they are: 32 bits, of positive scale."""
        words = self.value.dtype == ir.DataType.INT32
        return words and (bool(np.all(self.scale > 0)) or self.weights is not None)

    @property
    def is_plain(self) -> bool:
        """Whether the float tensor is the integers times one positive number."""
        return self.scale.ndim == 0 and self.scale > 0 and not np.any(self.offset)

    def under(self, view: Axes) -> Quantity:
        """The same under other axes of the same sizes: by channel where those are where they were.

        Its scale and offset are to be numbers where they are not.
        """
        if self.channels == 1 or self.channel_axis == channel_axis(view) is not None:
            return replace(self, view=view)
        if self.scale.ndim > 0 or self.offset.ndim > 0:
            raise ValueError(f"[{spell(view)}] has no place for numbers by channel")
        everywhere = {"low": self.low.min(), "high": self.high.max(), "error": np.max(self.error)}
        return replace(self, view=view, weights=None, **everywhere)

    def by_channel(self, *numbers: np.ndarray) -> list[np.ndarray]:
        """Each as one number a channel, in arrays that may be changed."""
        return [np.broadcast_to(a, self.channels).copy() for a in numbers]


def channel_axis(view: Axes) -> int | None:
    """The axis of a view that is all channels and nothing else."""
    whole = axes(("C", size_of(view, "C")))[0]
    return view.index(whole) if whole and whole in view else None


class PotentialOverflowError(Exception):
    """Potentials of a stream leave 32 bits, `by` times; with fewer fractional bits they may not."""

    def __init__(self, node: ir.Node, stream: Stream, by: float) -> None:
        super().__init__(node.name)
        self.node, self.stream, self.by = node, stream, by


class Rewindable(MutableMapping[K, V]):
    """A dictionary that can be taken back to what it was."""

    def __init__(self) -> None:
        self._now: dict[K, V] = {}
        self._before: list[tuple[K, V | None]] = []

    def __getitem__(self, key: K) -> V:
        return self._now[key]

    def __setitem__(self, key: K, value: V) -> None:
        self._before.append((key, self._now.get(key)))
        self._now[key] = value

    def __delitem__(self, key: K) -> None:
        self._before.append((key, self._now.pop(key)))

    def __iter__(self) -> Iterator[K]:
        return iter(self._now)

    def __len__(self) -> int:
        return len(self._now)

    def mark(self) -> int:
        """Where it is, for `rewind`."""
        return len(self._before)

    def rewind(self, mark: int) -> None:
        """Take back what was done since."""
        while len(self._before) > mark:
            key, value = self._before.pop()
            if value is None:
                del self._now[key]
            else:
                self._now[key] = value


@dataclass
class Lowering:
    """A model on its way from floats to integers; rules read and extend it.

    `streams` says which stream of potentials a value of the dialect belongs to, `asked` which of
    them rules have asked for; `frames_as_sums` is what makes potentials of frames.
    `signs` holds, for codes that were read, the sign that each channel is multiplied by at the end,
    `sums` all sums of codes; `joined`, for integers, the same with their time steps together.
    """

    builder: GraphBuilder
    mode: str
    potential_bits: int
    time_steps: int
    streams: dict[ir.Value, Stream]
    frames_as_sums: Callable[[ir.Node, Quantity, Lowering], Quantity]
    asked: set[Stream] = field(default_factory=set)
    env: Rewindable[ir.Value, Quantity | Weights] = field(default_factory=Rewindable)
    logits: Rewindable[ir.Value, ir.Value] = field(default_factory=Rewindable)
    signs: Rewindable[ir.Value, np.ndarray] = field(default_factory=Rewindable)
    sums: list[Quantity] = field(default_factory=list)
    joined: Rewindable[ir.Value, ir.Value] = field(default_factory=Rewindable)

    def mark(self) -> Mark:
        """Where the lowering is, for `rewind`."""
        dicts = (self.env, self.logits, self.signs, self.joined)
        return self.builder.mark(), len(self.sums), tuple(d.mark() for d in dicts)

    def rewind(self, mark: Mark) -> None:
        """Take back what was done since, but for the streams that were asked for and measured."""
        built, sums, marks = mark
        self.builder.rewind(built)
        del self.sums[sums:]
        for d, m in zip((self.env, self.logits, self.signs, self.joined), marks, strict=True):
            d.rewind(m)

    def stream_of(self, value: ir.Value) -> Stream:
        """The stream of a value of the dialect. What a rule makes from here on may depend on it."""
        stream = self.streams[value]
        self.asked.add(stream)
        return stream

    def quantity(self, node: ir.Node, index: int) -> Quantity:
        """The node's input as a quantity. Raises `UnsupportedModelError` if it is none."""
        value = node.inputs[index]
        found = self.env.get(value)
        if isinstance(found, Quantity):
            return found
        if isinstance(found, Weights) or constant(value) is not None:
            raise unsupported(
                node,
                f"its input {value.name!r} is constant; only an activation is lowered there",
            )
        raise unsupported(
            node,
            f"its input {value.name!r} is in floats",
            "let it read what the input's quantizer gives; where there is none: hqc quantize MODEL "
            "--data RECORDINGS, or with weights as they are, hqc import MODEL --data RECORDINGS",
        )

    def emit(
        self,
        node: ir.Node,
        op_type: str,
        inputs: list[ir.Value],
        like: Quantity,
        dtype: ir.DataType,
        *,
        name: str = "",
        domain: str = "",
        shape: Sequence[int] | None = None,
        **attributes: object,
    ) -> Quantity:
        """Add an op whose output is `like` in all but its value; its facts are written.

        It has the shape of the node's output, if no other is given.
        """
        shape = tuple(node.outputs[0].shape.numpy()) if shape is None else tuple(shape)
        value = self.builder.op(
            op_type, inputs, shape, dtype, name=name or node.name, domain=domain, **attributes
        )
        moved = op_type in VIEWS or op_type in _MOVES
        source = Facts.of(inputs[0]) if moved else None
        made = described(replace(like, value=value), source)
        if made.kind == "sums":
            self.sums.append(made)
        return made

    def in_words(self, x: Quantity, name: str) -> ir.Value:
        """The integers of x in 32 bits, by a Cast of that name where they are not."""
        if x.value.dtype == ir.DataType.INT32:
            return x.value
        to = ir.DataType.INT32
        value = self.builder.op("Cast", [x.value], x.shape, to, name=name, to=to.value)
        return described(replace(x, value=value)).value

    def signed(self, x: Quantity) -> tuple[np.ndarray, np.ndarray]:
        """The interval of sums whose codes were multiplied by signs since."""
        sign = self.signs.get(x.weights, np.int8(1))
        return np.minimum(x.low * sign, x.high * sign), np.maximum(x.low * sign, x.high * sign)

    def finish(self) -> None:
        """Multiply codes by their signs, now that all are known, and write the facts of sums."""
        for x in self.sums:
            low, high = self.signed(x)
            described(replace(x, low=low, high=high))
        axes_of = {x.weights: x.weights_axis for x in self.sums}
        for weights, signs in self.signs.items():
            if np.any(signs != 1):
                codes = weights.const_value.numpy()
                signed = codes * along(axes_of[weights], signs, codes.ndim)
                weights.const_value = ir.tensor(signed)

    def constant(self, node: ir.Node, index: int) -> np.ndarray | None:
        """An optional input that must be constant; None where it is not given."""
        value = node.inputs[index] if len(node.inputs) > index else None
        if value is None:
            return None
        array = constant(value)
        if array is None:
            raise unsupported(
                node, f"its input {value.name!r} is computed; only a constant is lowered there"
            )
        return array

    def weights(self, node: ir.Node, index: int) -> Weights | np.ndarray | None:
        """The node's input as quantized weights, an array of float ones, None if it is neither."""
        value = node.inputs[index]
        found = self.env.get(value)
        if found is None:
            return constant(value)
        return found if isinstance(found, Weights) else None

    def regarded(self, node: ir.Node, index: int, view: Axes | None) -> Quantity:
        """The node's input under other axes of the same sizes; pack-spikes lays it out so.

        What differs by channel, where the channels are not the same axis, ends in potentials.
        """
        x = self.quantity(node, index)
        if view is None:
            raise mixes_time(
                node, f"its input's axes are [{spell(x.view)}]", "put the time steps first"
            )
        if x.kind == "frames" and view != x.view:
            x = self.potentials(node, index)
        same = x.channel_axis is not None and x.channel_axis == channel_axis(view)
        if not same and (x.scale.ndim > 0 or x.offset.ndim > 0):
            x = self.potentials(node, index)
        return x.under(view)

    def stream(self, node: ir.Node, index: int) -> Stream:
        """The stream of the node's input, whose unit is settled."""
        stream = self.stream_of(node.inputs[index])
        if stream.threshold is None:
            stream.measure(float(np.max(self.quantity(node, index).float_reach)))
        return stream

    def potentials(self, node: ir.Node, index: int) -> Quantity:
        """The node's input as potentials in its stream's unit, computed once for all readers."""
        value = node.inputs[index]
        x, stream = self.quantity(node, index), self.stream(node, index)
        unit = Facts.of(x.value).unit  # of the integers, whatever constants multiplied them since
        in_unit = x.kind == "potentials" and x.is_plain and x.scale == unit == stream.unit
        if not in_unit:
            self.env[value] = x = rescaled(node, x, self, stream.unit, stream)
        return x


def described(x: Quantity, source: Facts | None = None) -> Quantity:
    """The same quantity, whose facts are written to its value.

    A view's integers have the unit of its `source`, whatever constants multiply them later. Bounds
    by channel are one for all where no axis is the channels.
    """
    if x.channels > 1 and x.channel_axis is None and x.scale.ndim == x.offset.ndim == 0:
        x = replace(x, low=np.min(x.low), high=np.max(x.high), error=np.max(x.error))
    unit = float(x.scale) if x.kind in ("potentials", "frames") and x.is_plain else None
    unit = source.unit if source else unit
    Facts(x.kind, by_channel(x.low), by_channel(x.high), spell(x.view), unit).write(x.value)
    return x


def rescaled(
    node: ir.Node, x: Quantity, lowering: Lowering, unit: float, stream: Stream | None = None
) -> Quantity:
    """x as 32-bit integers times `unit`, whatever its channels' scales were.

    The multiplier has as many bits as 64-bit products leave room for; rounding is to nearest.
    `stream` is the one whose unit it is, and which may be made coarser.
    """
    if x.kind == "frames":
        x = lowering.frames_as_sums(node, x, lowering)
    scale, offset, low, high = x.by_channel(x.scale / unit, x.offset / unit, x.low, x.high)
    if x.weights is not None:
        sign = lowering.signs.setdefault(x.weights, np.ones(x.channels, np.int8))
        if np.any((sign == 0) & (scale != 0)):
            raise unsupported(
                node,
                "it shares its sums with neurons for which a channel has scale 0",
                "give it a convolution or linear layer of its own",
            )
        scale = scale * sign
        low, high = lowering.signed(x)
    magnitude = np.maximum(np.abs(low), np.abs(high))
    scale = np.where(magnitude == 0, 0, scale)
    reach = magnitude * np.abs(scale) + np.abs(offset)
    limits = (2**31 / max(np.abs(scale).max(), 2**-31), 2**61 / max(reach.max(), 1))
    shift = min(int(np.floor(np.log2(min(limits)) - 1e-6)), 62)
    if shift < 1:
        raise _too_large(node, x, stream, float(reach.max()) / 2**30)
    multiplier = np.round(scale * 2.0**shift).astype(np.int64)
    bias = np.round(offset * 2.0**shift).astype(np.int64)
    # What is lost: the multiplier's rounding, times what it multiplies; the bias's; the result's.
    lost = magnitude * np.abs(multiplier - scale * 2.0**shift) + np.abs(bias - offset * 2.0**shift)
    error = x.error + unit * (0.5 + lost * 2.0**-shift)
    bias += 1 << (shift - 1)
    try:
        low, high = rescale_interval(low, high, multiplier, bias, shift)
    except RangeError as error_:
        raise _too_large(node, x, stream, error_.by) from None
    source = x.value.producer()
    while source.op_type in VIEWS:
        source = source.inputs[0].producer()
    name = f"{source.name}/Rescale"
    parameters = [
        lowering.builder.initializer(array.reshape(_along_channels(node, x)), f"{name}.{kind}")
        for kind, array in (("multiplier", multiplier.astype(np.int32)), ("bias", bias))
    ]
    value = lowering.builder.op(
        "Rescale",
        [x.value, *parameters],
        x.shape,
        ir.DataType.INT32,
        name=name,
        domain=DIALECT,
        shift=shift,
    )
    value.producer().metadata_props[MADE_FOR] = where(node)
    zero = np.float64(0)
    potentials = Quantity(
        value, "potentials", x.view, np.float64(unit), zero, low, high, np.asarray(error)
    )
    return described(potentials)


def _too_large(node: ir.Node, x: Quantity, stream: Stream | None, by: float) -> Exception:
    if stream is not None:
        return PotentialOverflowError(node, stream, by)
    return unsupported(node, f"its potentials reach {float(np.max(x.float_reach)):.3g}")


def _along_channels(node: ir.Node, x: Quantity) -> list[int]:
    """The shape in which one number a channel broadcasts to x."""
    if x.channels == 1:
        return [-1]
    if x.channel_axis is None:
        raise unsupported(
            node,
            f"its input's axes are [{spell(x.view)}], none of them the {x.channels} channels that "
            "its scales and biases go by",
            "put the neurons before the views that split or merge channels",
        )
    return [-1] + [1] * (len(x.shape) - 1 - x.channel_axis)


def along_channels(node: ir.Node, x: Quantity, numbers: np.ndarray) -> np.ndarray:
    """One number, or one a channel, shaped so that it broadcasts to x."""
    return np.broadcast_to(numbers, x.channels).reshape(_along_channels(node, x))
