"""What an integer tensor becomes: packed spikes, potentials, or sums that a kernel is to end."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import onnx_ir as ir

from hqc.dialect import KERNEL
from hqc.dialect.facts import Facts, by_channel
from hqc.dialect.layouts import WORD
from hqc.dialect.planes import words
from hqc.dialect.rearrange import rearranged_ends
from hqc.passes.axes import Axes, axes, coordinates, flatten, named, size_of, spell, time_in
from hqc.passes.graph import GraphBuilder, constant, unsupported


@dataclass(frozen=True)
class Packed:
    """An integer tensor's value, laid out as `kind` says, and its logical axes.

    Spikes are uint32 [T, Y, X, planes, words], potentials int32 [T, Y, X, 32 words], frames bytes
    [T, 1, C, Y, X]. `summed` names the roots that the tensor is a sum over and its value still has.
    """

    value: ir.Value
    view: Axes
    sizes: dict[str, int]
    kind: Literal["spikes", "potentials", "frames"] = "spikes"
    summed: frozenset[str] = frozenset()

    @property
    def planes(self) -> int:
        """Bit planes of spikes."""
        return self.value.shape.numpy()[3]

    @property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Position and channel of each element, in the tensor's shape without time."""
        position = coordinates(self.view, "Y") * self.sizes["X"] + coordinates(self.view, "X")
        return position, coordinates(self.view, "C")

    @property
    def is_image(self) -> bool:
        """Whether its axes are [T, C, H, W]."""
        return self.view == image(self.sizes)


@dataclass(frozen=True)
class Sums:
    """Accumulators that neurons, or a Rescale, are still to read; whether 32 bits hold them."""

    node: ir.Node
    x: Packed
    view: Axes
    sizes: dict[str, int]
    fits: bool = True


def image(sizes: dict[str, int]) -> Axes:
    """The axes [T, C, H, W]."""
    return axes(*((root, sizes[root]) for root in "TCYX"))


@dataclass
class Packing:
    """A model on its way from integers to kernels; steps read and extend it."""

    builder: GraphBuilder
    env: dict[ir.Value, Packed | Sums] = field(default_factory=dict)
    logits: dict[ir.Value, ir.Value] = field(default_factory=dict)

    def input(self, node: ir.Node, index: int = 0) -> Packed:
        """The node's input; a sum over all positions, over time or over both is computed first."""
        found = self.tensor(node, index)
        if not found.summed:
            return found
        positions = {root for root in "YX" if found.sizes[root] > 1}
        if found.summed - {"T"} not in (set(), positions):
            found = self.over_positions(node, found)
        facts = by_own_channels(Facts.of(node.inputs[index]), found)
        made = replace(found, summed=frozenset())
        if found.summed - {"T"}:
            sizes = {**found.sizes, "Y": 1, "X": 1}
            each = _of_each_step(facts, found.sizes["T"]) if "T" in found.summed else facts
            if found.kind == "potentials":
                made = self.potentials(node, "SumPotentials", [found.value], made, sizes, each)
            else:
                channels = sizes["C"]
                made = self.potentials(
                    node, "CountSpikes", [found.value], made, sizes, each, channels=channels
                )
        if "T" in found.summed:
            made = self.as_potentials(node, made)
            sizes = {**made.sizes, "T": 1}
            made = self.potentials(node, "SumSteps", [made.value], made, sizes, facts)
        return made

    def over_positions(self, node: ir.Node, x: Packed, reduced: Collection[int] = ()) -> Packed:
        """x, which may be a sum still to be computed, with all but time and `reduced` as channels.

        The sum is one more axis of positions beside those that are reduced. An axis of time and
        others is taken apart.
        """
        over = axes(*((root, x.sizes[root]) for root in "YX" if root in x.summed))
        factors = [(f, i in reduced) for i, axis in enumerate(x.view) for f in axis]
        parts = (*((f,) for f, _ in factors), flatten(over))
        channels = [i for i, (f, goes) in enumerate(factors) if f.root != "T" and not goes]
        unsummed = replace(x, view=parts, summed=frozenset())
        made = self.laid_out(node, unsummed, named(parts, channels))
        summed = (x.summed & {"T"}) | {f.root for f in made.view[-1]}
        found = iter(made.view)
        view = tuple(flatten([next(found) for _ in axis]) for axis in x.view)
        return replace(made, view=view, summed=summed)

    def tensor(self, node: ir.Node, index: int = 0) -> Packed:
        """The node's input, which may be a sum that is still to be computed."""
        found = self.env[node.inputs[index]]
        if isinstance(found, Sums):
            raise unsupported(node, "it reads sums that no neuron has read")
        return found

    def image(self, node: ir.Node) -> Packed:
        """The node's input as an image, [T, C, H, W]."""
        x = self.input(node)
        if len(x.view) != 4 or x.view[0] != axes(("T", x.sizes["T"]))[0]:
            raise unsupported(
                node, f"its input's axes are [{spell(x.view)}], not those of an image, [T C Y X]"
            )
        return x if x.is_image else self.laid_out(node, x, named(x.view, [1]))

    def with_channels(self, node: ir.Node, x: Packed, axis: int) -> Packed:
        """x with this axis, and no other, as its channels: as it is, or rearranged."""
        axis %= len(x.view)
        whole = axes(("C", x.sizes["C"]))[0]
        return x if x.view[axis] == whole else self.laid_out(node, x, named(x.view, [axis]))

    def laid_out(self, node: ir.Node, x: Packed, view: Axes | None, out_planes: int = 0) -> Packed:
        """x, whose tensor stays as it is, with positions and channels as a view of it says."""
        if view == x.view and not out_planes:
            return x
        if view is None or time_in(view) != time_in(x.view):
            raise unsupported(
                node,
                f"its input's axes are [{spell(x.view)}], where time is in another place",
                "put the time steps first",
            )
        return self.gathered(node, x, *x.places, view, out_planes)

    def gathered(
        self,
        node: ir.Node,
        x: Packed,
        position: np.ndarray,
        channel: np.ndarray,
        view: Axes,
        out_planes: int = 0,
    ) -> Packed:
        """The numbers of x at a position and channel for each element of a tensor of axes `view`.

        Nothing is moved where all stay in their places. `out_planes` are those of spikes, where
        they are to be more.
        """
        sizes = {root: size_of(view, root) for root in "CYX"} | {"T": x.sizes["T"]}
        to = (
            coordinates(view, "Y") * sizes["X"] + coordinates(view, "X"),
            coordinates(view, "C"),
        )
        tables = np.full((2, sizes["Y"] * sizes["X"], sizes["C"]), -1, np.int64)
        tables[(slice(None), *np.broadcast_arrays(*to))] = np.broadcast_arrays(position, channel)
        if tables.min() < 0:
            raise ValueError(f"[{spell(view)}] leaves places empty")
        columns = tables[:, 0] - tables[:, 0].min(1, keepdims=True)
        rows = tables[:, :, 0] - columns[:, :1]
        if not np.array_equal(tables, rows[:, :, None] + columns[:, None]):
            raise unsupported(
                node, f"its input's axes, [{spell(x.view)}], do not come apart as [{spell(view)}]"
            )
        own = (np.arange(x.sizes["Y"] * x.sizes["X"])[:, None], np.arange(x.sizes["C"]))
        places = np.stack(np.broadcast_arrays(*own))
        if np.array_equal(tables, places) and not out_planes:
            return replace(x, value=self.split(x, sizes), view=view, sizes=sizes)
        if x.kind == "frames":
            raise unsupported(
                node,
                f"it reads frames as [{spell(view)}], which are [{spell(x.view)}]",
                "give frames [T, 1, C, H, W] to convolutions, or put neurons before the view",
            )
        pitch = WORD * words(x.sizes["C"])
        inputs = [
            self.builder.initializer((p * pitch + c).astype(np.int32), f"{node.name}.{what}")
            for what, (p, c) in (("rows", rows[:, :, None]), ("columns", columns))
        ]
        facts = Facts.of(x.value)
        given = {"positions": [sizes["Y"], sizes["X"]], "channels": x.sizes["C"]}
        if x.kind == "potentials":
            low, high = rearranged_ends(facts, tables[1])
            moved = replace(facts, low=by_channel(low), high=by_channel(high))
            like = replace(x, view=view)
            return self.potentials(
                node, "RearrangePotentials", [x.value, *inputs], like, sizes, moved, **given
            )
        planes = out_planes or x.planes
        shape = (x.value.shape.numpy()[0], sizes["Y"], sizes["X"], planes, words(sizes["C"]))
        value = self.builder.op(
            "RearrangeSpikes",
            [x.value, *inputs],
            shape,
            ir.DataType.UINT32,
            name=node.name,
            domain=KERNEL,
            planes=planes,
            **given,
        )
        facts.write(value)
        return Packed(value, view, sizes)

    def split(self, x: Packed, sizes: dict[str, int]) -> ir.Value:
        """The value of x with its positions split into these Y and X."""
        old = x.value.shape.numpy()
        shape = (old[0], sizes["Y"], sizes["X"], *old[3:])
        if x.kind == "frames" or shape == tuple(old):
            return x.value
        target = self.builder.initializer(np.array(shape, np.int64), "positions.shape")
        made = self.builder.op("Reshape", [x.value, target], shape, x.value.dtype, name="positions")
        Facts.of(x.value).write(made)
        return made

    def constant(self, value: ir.Value) -> ir.Value:
        """A copy of an initializer, with its notes."""
        copy = self.builder.initializer(constant(value), value.name)
        copy.metadata_props.update(value.metadata_props)
        return copy

    def by_channel(self, values: Sequence[ir.Value], channels: int) -> list[ir.Value]:
        """Copies of initializers, of a number or of one per channel, as one per channel."""
        return [
            self.builder.initializer(
                np.broadcast_to(constant(v).reshape(-1), channels).copy(), v.name
            )
            for v in values
        ]

    def spikes(
        self,
        node: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value],
        view: Axes,
        sizes: dict[str, int],
        out_planes: int = 1,
        **attributes: object,
    ) -> Packed:
        """The packed spikes, or sums of spikes in several planes, of a kernel."""
        shape = (sizes["T"], sizes["Y"], sizes["X"], out_planes, words(sizes["C"]))
        value = self.builder.op(
            op_type, inputs, shape, ir.DataType.UINT32, name=node.name, domain=KERNEL, **attributes
        )
        highest = Facts.of(node.outputs[0]).highest
        kind = "spikes" if highest == 1 else "levels"
        Facts(kind, 0, highest, "T Y X planes words").write(value)
        return Packed(value, view, sizes)

    def potentials(
        self,
        node: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value],
        like: Packed | Sums,
        sizes: dict[str, int] | None = None,
        facts: Facts | None = None,
        **attributes: object,
    ) -> Packed:
        """A kernel's potentials, with the axes of `like`; `sizes` where it changes them.

        `facts` are those of its numbers, where they are not what the node's output says.
        """
        sizes = sizes or like.sizes
        shape = (sizes["T"], sizes["Y"], sizes["X"], WORD * words(sizes["C"]))
        value = self.builder.op(
            op_type, inputs, shape, ir.DataType.INT32, name=node.name, domain=KERNEL, **attributes
        )
        made = facts or by_own_channels(Facts.of(node.outputs[0]), like)
        Facts("potentials", made.low, made.high, "T Y X C", made.unit).write(value)
        return Packed(value, like.view, sizes, "potentials")

    def as_potentials(self, node: ir.Node, x: Packed) -> Packed:
        """Spikes, or sums of them, as potentials; potentials as they are."""
        if x.kind == "potentials":
            return x
        if x.kind == "frames":
            raise unsupported(node, "it reads frames, not spikes")
        facts = Facts.of(x.value)
        return self.potentials(
            node, "SpikesAsPotentials", [x.value], x, facts=facts, channels=x.sizes["C"]
        )


def channels_of(facts: Facts) -> int | None:
    """The axis of the channels that bounds differ by; None where they do not."""
    by_channel = isinstance(facts.low, list) or isinstance(facts.high, list)
    return facts.axes.split(" ").index("C") if by_channel else None


def keeps_apart(x: Packed, axis: int) -> bool:
    """Whether each channel of x holds numbers of one index of an axis of its tensor alone."""
    if x.view[axis] == axes(("C", x.sizes["C"]))[0]:
        return True
    channel, index = _with_channels(x, axis)
    return np.unique(channel * (index.max() + 1) + index).size == x.sizes["C"]


def _with_channels(x: Packed | Sums, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The channel of each number of x, and its index along an axis of the tensor."""
    channel = coordinates(x.view, "C")
    size = math.prod(f.size for f in x.view[axis])
    index = np.arange(size).reshape([-1 if i == axis else 1 for i in range(len(x.view))])
    channel, index = np.broadcast_arrays(channel, index)
    return channel.reshape(-1), index.reshape(-1)


def by_own_channels(facts: Facts, x: Packed | Sums) -> Facts:
    """What make-integer says of a tensor, by the channels that x has."""
    axis, size = channels_of(facts), x.sizes["C"]
    if axis is None or x.view[axis] == axes(("C", size))[0]:
        return facts
    channel, index = _with_channels(x, axis)
    low, high = np.full(size, facts.highest), np.full(size, facts.lowest)
    said = (np.broadcast_to(end, index.max() + 1) for end in (facts.low, facts.high))
    np.minimum.at(low, channel, next(said)[index])
    np.maximum.at(high, channel, next(said)[index])
    return replace(facts, low=by_channel(low), high=by_channel(high))


def _of_each_step(facts: Facts, time_steps: int) -> Facts:
    """What a sum over time is the sum of: numbers of the same bounds at every step."""
    low, high = (np.array(end) // time_steps for end in (facts.low, facts.high))
    return replace(facts, low=by_channel(low), high=by_channel(high))


Step = Callable[[ir.Node, Packing], "Packed | Sums | None"]

_STEPS: dict[tuple[str, str], Step] = {}


def packs(*op_types: str, domain: str = "") -> Callable[[Step], Step]:
    """Register the decorated function as the packing of those ops."""

    def register(function: Step) -> Step:
        for op_type in op_types:
            _STEPS[domain, op_type] = function
        return function

    return register


def find_step(node: ir.Node) -> Step:
    """The step of a node. Raises `UnsupportedModelError` if no kernel computes it."""
    try:
        return _STEPS[node.domain, node.op_type]
    except KeyError:
        raise unsupported(node, "there is no kernel for it") from None
