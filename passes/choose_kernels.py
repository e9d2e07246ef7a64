"""Which kernel adds a layer's weights: events, fields, bit planes, dot products; and frames, whole
or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from hqc.codegen.load_tvm import load_tvm
from hqc.dialect import find_op
from hqc.dialect.facts import Facts
from hqc.dialect.fixed_point_lif import neurons_fit
from hqc.dialect.layer_invariants import frames_layer, spikes_layer
from hqc.dialect.layouts import alias_root
from hqc.dialect.metadata import LISTED, RATE, TUNED
from hqc.errors import UserError
from hqc.passes.pass_base import Pass, register
from hqc.passes.spike_kernels import SPIKE_KERNELS, SPIKE_LAYERS, Machine, Work, candidates
from hqc.targets.costs import Costs

_CHOICES = {
    "kernel": ("auto", *SPIKE_KERNELS),
    "listing": ("table", "mask", "mask64", "host"),
    "dots": ("none", "aarch64", "host"),
}
"""What options may be; `host` is whatever this machine has."""

_SPARSE = 0.05
"""Up to this share of values that are not 0, those that are 0 are skipped. At 9 % (N-MNIST) that
takes a third less instructions on a Cortex-A72 and half as much time again on a Zen 4, which cannot
predict them."""

_FEWER = 0.95
"""Kernels list what does not fire of planes and rows (`complement`) where at most this share of the
additions is left: what all weights come to takes code and memory."""


@register
@dataclass(frozen=True)
class ChooseKernels(Costs, Pass):
    """Set the `kernel` of every layer of spikes, and of layers of frames.

    1. Events take a scan and an addition a vector of byte lanes for every spike that a position
       sees, more where weights do not fit the first cache, of `first_cache` bytes; and the
       unpacking of all weights, which positions and time steps share.
    2. Fields take as much for every spike, of other additions, but nothing is unpacked and less is
       read.
    3. Planes take an AND, a popcount and an addition for every word of inputs, bit of the code and
       vector of 32-bit lanes, whether anything fires or not.
    4. Where an instruction adds products of four bytes, which `dots` says, `dense` takes one for
       every four inputs and vector of 32-bit lanes, and the unpacking of all weights: it is for
       layers that end in neurons, of codes and inputs that are bytes.
    5. What costs least is chosen of those that hold the weights without waste, but where tuning
       records choose one; `kernel` names one for all layers instead. What the parts of each cost
       are the target's `costs`; `rate` is the firing rate, in percent, of inputs that none was
       measured for.
    6. Shifts as fields are bytes, twice what they take else: only where weights may `widen`.
    7. Of frames, values that are 0 are skipped (`sparse`) if nearly all are, or without vectors;
       where `dots` says so, all are multiplied by dot products.
    8. Without vectors, as many neurons are computed side by side as a word of `word_bits` has room
       for (`lanes`), where that is proven to hold them.
    9. With vectors, spikes are listed (`listing`) by a table, or by a mask of 32 or 64 inputs whose
       lanes are moved together where an instruction does that; `host`: as LLVM knows of this
       machine.
    10. With vectors, events and fields list what does not fire (`complement`), where that was
        measured to be less to add.
    11. Convolutions of potentials by windows of one pixel multiply bytes where `dots` says so, as
        many as hold their inputs.
    """

    name: ClassVar[str] = "choose-kernels"
    kernel: str = "auto"
    vector_bits: int = 128
    word_bits: int = 32
    listing: str = "table"
    first_cache: int = 32 << 10
    rate: int = 15
    widen: int = 1
    dots: str = "none"

    def __post_init__(self) -> None:
        for option, names in _CHOICES.items():
            if (name := getattr(self, option)) not in names:
                raise UserError(
                    f"choose-kernels has no {option} {name!r}",
                    hint=f"{option} is one of {', '.join(names)}",
                )

    def run(self, model: ir.Model) -> ir.Model:
        """Annotate; the meaning of the model stays as it is."""
        for node in model.graph:
            if node.op_type in SPIKE_LAYERS:
                chosen = self._choice(node)
                node.attributes["kernel"] = ir.AttrString("kernel", chosen)
                if chosen == "dense":
                    node.attributes["dot_bits"] = ir.AttrInt64("dot_bits", self._dot_bits)
                if self.vector_bits:
                    self._list_by_mask(node)
                if SPIKE_KERNELS[chosen].lists and self._complements(node):
                    node.attributes["complement"] = ir.AttrInt64("complement", 1)
            elif node.op_type in ("DenseConv", "FrameConvPotentials"):
                frames = alias_root(node.inputs[0])
                measured = float(frames.metadata_props.get(RATE, 1))
                sparse = self.vector_bits == 0 or measured <= _SPARSE
                node.attributes["kernel"] = ir.AttrString("kernel", "sparse" if sparse else "dense")
                self._use_dots_of_frames(node)
            elif node.op_type == "PotentialConv" and self.dots != "none":
                self._use_dots(node)
            if node.op_type in ("SpikeConv", "DenseConv") and (lanes := self._lanes(node)) > 1:
                node.attributes["lanes"] = ir.AttrInt64("lanes", lanes)
        return model

    def _list_by_mask(self, node: ir.Node) -> None:
        load_tvm()
        from hqc.codegen.kernels.listed_pixels import listing_on

        if (listing := listing_on(self.listing)) != "table":
            node.attributes["listing"] = ir.AttrString("listing", listing)

    def candidates(self, node: ir.Node) -> list[str]:
        """The kernels that can compute a layer of spikes on the target."""
        return candidates(node, self.machine)

    @property
    def machine(self) -> Machine:
        """What the options say of the target."""
        return Machine(self.vector_bits, self.first_cache, self.widen > 0, self._dot_bits > 0)

    def cost(self, node: ir.Node, kernel: str) -> float:
        """What a kernel takes for a layer, over all time steps, in the unit of the costs."""
        parts = SPIKE_KERNELS[kernel].parts(Work.of(node, self.machine, self._rate(node)))
        return sum(getattr(self, part) * amount for part, amount in parts.items())

    def _rate(self, node: ir.Node) -> float:
        """The share of a layer's inputs that kernels list."""
        said = node.inputs[0].metadata_props
        return float(said.get(LISTED if self._complements(node) else RATE, self.rate / 100))

    def _complements(self, node: ir.Node) -> bool:
        """Whether kernels list what does not fire of a plane of a row, if more than half does."""
        said = node.inputs[0].metadata_props
        return (
            self.vector_bits > 0
            and LISTED in said
            and float(said[LISTED]) <= _FEWER * float(said[RATE])
        )

    def _choice(self, node: ir.Node) -> str:
        found = self.candidates(node)
        if self.kernel != "auto":
            return self.kernel if self.kernel in found else "event"
        if tuned := node.metadata_props.get(TUNED):
            return tuned
        return min(found, key=lambda kernel: self.cost(node, kernel))

    def _use_dots(self, node: ir.Node) -> None:
        load_tvm()
        from hqc.codegen.kernels.dotted_tiles import suits_dots

        if self._dot_bits and suits_dots(node):
            x = Facts.of(node.inputs[0])
            size = max((-x.lowest - 1).bit_length(), x.highest.bit_length()) + 1
            node.attributes["dot_bits"] = ir.AttrInt64("dot_bits", self._dot_bits)
            node.attributes["input_bytes"] = ir.AttrInt64("input_bytes", -(-size // 8))

    def _use_dots_of_frames(self, node: ir.Node) -> None:
        if not self._dot_bits:
            return
        from hqc.codegen.kernels.dotted_frames import suits_dotted_frames

        if suits_dotted_frames(node):
            node.attributes["kernel"] = ir.AttrString("kernel", "dense")
            node.attributes["dot_bits"] = ir.AttrInt64("dot_bits", self._dot_bits)

    @property
    def _dot_bits(self) -> int:
        """Bits of the vectors whose bytes the target multiplies, 0 for none."""
        if self.dots == "none":
            return 0
        load_tvm()
        from hqc.codegen.kernels.dotted_tiles import dot_bits

        return dot_bits(self.dots)

    def _lanes(self, node: ir.Node) -> int:
        """Neurons of a layer that are computed side by side."""
        bits = find_op(node).attributes(node)["potential_bits"]
        kernel = node.attributes["kernel"].value
        if self.vector_bits or kernel == "planes" or bits == self.word_bits:
            return 1
        if node.op_type == "SpikeConv":
            from hqc.codegen.kernels.spike_conv_event import suits_lanes

            sums, suits = spikes_layer(node), suits_lanes(node, self.word_bits, bits)
        else:
            sums, suits = frames_layer(node), True
        fit = suits and neurons_fit(node, node.inputs[2:], *sums)
        return self.word_bits // bits if fit else 1
