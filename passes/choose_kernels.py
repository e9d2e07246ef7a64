"""Which kernel adds a layer's weights: by events or by bit planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from hqc.codegen.load_tvm import load_tvm
from hqc.dialect.metadata import RATE
from hqc.dialect.planes import words
from hqc.errors import UserError
from hqc.passes.pass_base import Pass, register

KERNELS = ("auto", "event", "planes")

_LIST_OPS = 5
"""Operations to find one spike and its weight row."""

_SCALAR_BYTE_LANES = 2
"""Without vectors, eight byte lanes of a register take nine operations where a vector takes two."""


@register
@dataclass(frozen=True)
class ChooseKernels(Pass):
    """Set the `kernel` of every SpikeConv and SpikeConvPotentials.

    1. Events cost the spikes of a position, each a scan and one addition a vector of byte lanes.
    2. Planes cost each word of inputs, an AND, a popcount and an addition for every bit of the
       code and every vector of 32-bit lanes, whether anything fires or not.
    3. Planes are chosen where they cost less and hold the weights without waste; `kernel` names
       one for all layers instead. `vector_bits` and `popcount_ops` describe the target, and `rate`
       is the firing rate, in percent, of inputs that none was measured for.
    """

    name: ClassVar[str] = "choose-kernels"
    kernel: str = "auto"
    vector_bits: int = 128
    popcount_ops: int = 5
    rate: int = 15

    def __post_init__(self) -> None:
        if self.kernel not in KERNELS:
            raise UserError(
                f"choose-kernels has no kernel {self.kernel!r}",
                hint=f"kernels are: {', '.join(KERNELS)}",
            )

    def run(self, model: ir.Model) -> ir.Model:
        """Annotate; the meaning of the model stays as it is."""
        for node in model.graph:
            if node.op_type in ("SpikeConv", "SpikeConvPotentials"):
                node.attributes["kernel"] = ir.AttrString("kernel", self._choice(node))
        return model

    def _choice(self, node: ir.Node) -> str:
        # TVM, which kernels are written in, takes seconds to load: refused models do without.
        load_tvm()
        from hqc.codegen.kernels.spike_conv_planes import suits_planes

        if self.kernel == "event" or not suits_planes(node):
            return "event"
        if self.kernel == "planes":
            return "planes"
        channels, in_channels, height, width = node.inputs[1].shape.numpy()
        planes, bits = node.inputs[0].shape.numpy()[3], node.attributes["weight_bits"].value
        rate = float(node.inputs[0].metadata_props.get(RATE, self.rate / 100))
        byte_lanes = self.vector_bits // 8 or _SCALAR_BYTE_LANES
        word_lanes = self.vector_bits // 32 or 1
        inputs = in_channels * height * width * planes
        events = inputs * rate * (_LIST_OPS + 2 * channels / byte_lanes)
        in_words = words(in_channels) * height * width * planes
        counted = in_words * bits * channels / word_lanes * self.popcount_ops
        return "planes" if counted < events else "event"
