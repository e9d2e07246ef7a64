"""What an integer tensor becomes: packed spikes, potentials, or sums that a kernel is to end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import onnx_ir as ir

from hqc.dialect import KERNEL
from hqc.dialect.facts import Facts, by_channel
from hqc.dialect.layouts import WORD
from hqc.dialect.planes import words
from hqc.passes.axes import Axes, axes, spell
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
            raise unsupported(
                node,
                f"it reads a sum over [{' '.join(sorted(found.summed))}] of [T C Y X]; only sums "
                "over all positions, Y and X, are lowered",
            )
        facts = Facts.of(node.inputs[index])
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

    def tensor(self, node: ir.Node, index: int = 0) -> Packed:
        """The node's input, which may be a sum that is still to be computed."""
        found = self.env[node.inputs[index]]
        if isinstance(found, Sums):
            raise unsupported(node, "it reads sums that no neuron has read")
        return found

    def image(self, node: ir.Node) -> Packed:
        """The node's input, which must have the axes of an image."""
        x = self.input(node)
        if not x.is_image:
            raise unsupported(
                node, f"its input's axes are [{spell(x.view)}], not those of an image, [T C Y X]"
            )
        return x

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
        made = facts or Facts.of(node.outputs[0])
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
        raise unsupported(
            node,
            "there is no kernel for it",
            "a product of activations is lowered where neurons read (Q K^T) V"
            if node.op_type == "MatMul"
            else None,
        ) from None
