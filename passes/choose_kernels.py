"""Which kernel adds a layer's weights: events, fields or bit planes; and frames, whole or not."""

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
from hqc.dialect.metadata import RATE, TUNED
from hqc.dialect.planes import words
from hqc.errors import UserError
from hqc.passes.pass_base import Pass, register

_CHOICES = {
    "kernel": ("auto", "event", "fields", "planes"),
    "listing": ("table", "mask", "host"),
    "dots": ("none", "aarch64", "host"),
}
"""What options may be; `host` is whatever this machine has."""

SPIKE_LAYERS = ("SpikeConv", "SpikeConvPotentials")
"""Ops that add weights of packed spikes."""

_LIST_OPS = 5
"""Operations to find one spike and its weight row."""

_ADD_OPS = {"event": {2: 2.0, 4: 2.0, 8: 3.2}, "fields": {2: 1.6, 4: 1.4, 8: 4.5}}
"""Operations to add a vector of byte lanes, of codes that are fields of 2, 4 or 8 bits: events fill
lanes of 16 with the last. In proportion as kernels take on a Zen 4, as are the next ones; bytes as
fields are as quick there in the caches, but twice as many are to be brought in."""

_HALF_OPS = 1.5
"""Times as many for fields in blocks of 64 outputs, which fill half of what others do."""

_UNPACK_OPS = 4
"""Operations to unpack a vector of codes to bytes."""

_FAR_OPS = 2
"""What a vector of weights from beyond the first cache costs."""

_FIRST_CACHE = 32 << 10

_SPARSE = 0.05
"""Up to this share of values that are not 0, those that are 0 are skipped. At 9 % (N-MNIST) that
takes a third less instructions on a Cortex-A72 and half as much time again on a Zen 4, which cannot
predict them."""

_SCALAR_BYTE_LANES = 2
"""Without vectors, eight byte lanes of a register take nine operations where a vector takes two."""


@register
@dataclass(frozen=True)
class ChooseKernels(Pass):
    """Set the `kernel` of every layer of spikes, and of layers of frames.

    1. Events cost the spikes of a position, each a scan and one addition a vector of byte lanes,
       more where weights do not fit the first cache; and the unpacking of all weights, which
       positions and time steps share.
    2. Fields cost the spikes, too, and more operations a vector, but nothing is unpacked and less
       is read.
    3. Planes cost each word of inputs, an AND, a popcount and an addition for every bit of the
       code and every vector of 32-bit lanes, whether anything fires or not.
    4. What costs least is chosen of those that hold the weights without waste, but where tuning
       records choose one; `kernel` names one for all layers instead. `vector_bits` and
       `popcount_ops` describe the target, and `rate` is the firing rate, in percent, of inputs
       that none was measured for.
    5. Shifts as fields are bytes, twice what they take else: only where weights may `widen`.
    6. Of frames, values that are 0 are skipped (`sparse`) if nearly all are, or without vectors.
    7. Without vectors, as many neurons are computed side by side as a word of `word_bits` has room
       for (`lanes`), where that is proven to hold them.
    8. With vectors, spikes are listed (`listing`) by a table, or by a mask whose lanes are moved
       together where an instruction does that; `host`: as LLVM knows of this machine.
    9. Where an instruction adds products of four bytes, which `dots` says, convolutions of
       potentials by windows of one pixel use it, on as many bytes as hold their inputs.
    """

    name: ClassVar[str] = "choose-kernels"
    kernel: str = "auto"
    vector_bits: int = 128
    word_bits: int = 32
    listing: str = "table"
    popcount_ops: int = 5
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
                node.attributes["kernel"] = ir.AttrString("kernel", self._choice(node))
                if self.vector_bits and self._lists_by_mask():
                    node.attributes["listing"] = ir.AttrString("listing", "mask")
            elif node.op_type in ("DenseConv", "FrameConvPotentials"):
                frames = alias_root(node.inputs[0])
                measured = float(frames.metadata_props.get(RATE, 1))
                sparse = self.vector_bits == 0 or measured <= _SPARSE
                node.attributes["kernel"] = ir.AttrString("kernel", "sparse" if sparse else "dense")
            elif node.op_type == "PotentialConv" and self.dots != "none":
                self._use_dots(node)
            if node.op_type in ("SpikeConv", "DenseConv") and (lanes := self._lanes(node)) > 1:
                node.attributes["lanes"] = ir.AttrInt64("lanes", lanes)
        return model

    def _lists_by_mask(self) -> bool:
        if self.listing != "host":
            return self.listing == "mask"
        load_tvm()
        from hqc.codegen.kernels.spike_lists import this_machine_compresses

        return this_machine_compresses()

    def candidates(self, node: ir.Node) -> list[str]:
        """The kernels that can compute a layer of spikes on the target."""
        # TVM, which kernels are written in, takes seconds to load: refused models do without.
        load_tvm()
        from hqc.codegen.kernels.spike_conv_fields import field_of, suits_fields
        from hqc.codegen.kernels.spike_conv_planes import suits_planes

        bits = node.attributes["weight_bits"].value
        field = field_of(bits, node.attributes["weight_scheme"].value)
        suits = {
            "event": True,
            "fields": self.vector_bits > 0
            and suits_fields(node)
            and (self.widen > 0 or field < 8 or bits > 4),
            "planes": suits_planes(node),
        }
        return [kernel for kernel, does in suits.items() if does]

    def _choice(self, node: ir.Node) -> str:
        candidates = self.candidates(node)
        if self.kernel != "auto":
            return self.kernel if self.kernel in candidates else "event"
        if tuned := node.metadata_props.get(TUNED):
            return tuned
        costs = self._costs(node)
        return min(candidates, key=costs.__getitem__)

    def _use_dots(self, node: ir.Node) -> None:
        load_tvm()
        from hqc.codegen.kernels.dotted_tiles import dot_bits, suits_dots

        bits = dot_bits(self.dots)
        if bits and suits_dots(node):
            x = Facts.of(node.inputs[0])
            size = max((-x.lowest - 1).bit_length(), x.highest.bit_length()) + 1
            node.attributes["dot_bits"] = ir.AttrInt64("dot_bits", bits)
            node.attributes["input_bytes"] = ir.AttrInt64("input_bytes", -(-size // 8))

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

    def _costs(self, node: ir.Node) -> dict[str, float]:
        """Operations of each kernel a position and time step."""
        from hqc.codegen.kernels.spike_conv_fields import field_of

        channels, in_channels, height, width = node.inputs[1].shape.numpy()
        steps, _, _, planes, _ = node.inputs[0].shape.numpy()
        _, out_height, out_width, *_ = node.outputs[0].shape.numpy()
        bits, scheme = (node.attributes[n].value for n in ("weight_bits", "weight_scheme"))
        field = field_of(bits, scheme)
        taps = height * width
        byte_vectors = channels / (self.vector_bits // 8 or _SCALAR_BYTE_LANES)
        word_vectors = channels / (self.vector_bits // 32 or 1)
        rate = float(node.inputs[0].metadata_props.get(RATE, self.rate / 100))
        spikes = in_channels * taps * planes * rate
        add_field = _ADD_OPS["fields"][field] * (
            _HALF_OPS if field < 8 and words(channels) % 4 else 1
        )
        far = _FAR_OPS if in_channels * taps * channels > _FIRST_CACHE else 0
        unpack = _UNPACK_OPS * in_channels * taps * byte_vectors / (steps * out_height * out_width)
        return {
            "event": spikes * (_LIST_OPS + (_ADD_OPS["event"][field] + far) * byte_vectors)
            + unpack,
            "fields": spikes * (_LIST_OPS + (add_field + far * field / 8) * byte_vectors),
            "planes": words(in_channels) * taps * planes * bits * word_vectors * self.popcount_ops,
        }
