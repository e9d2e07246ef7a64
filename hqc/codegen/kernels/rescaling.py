"""The epilogue of sums that become potentials: `Rescale`, some channels at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import Constant
from hqc.codegen.kernels.neurons import WORD
from hqc.dialect.planes import words


@dataclass(frozen=True)
class Rescaling:
    """`Rescale` of a node, as expressions of TIR."""

    shift: int

    @classmethod
    def of(cls, node: ir.Node) -> Rescaling:
        """Read the node's attributes."""
        return cls(node.attributes["shift"].value)

    def levels(self, node: ir.Node, first: int, channels: int) -> tuple[Constant, Constant]:
        """Multiplier int32 [columns] and bias int64 [columns]; spare columns come out as 0."""
        columns = words(channels) * WORD
        return tuple(
            Constant(np.pad(v.const_value.numpy().reshape(-1), (0, columns - channels)))
            for v in node.inputs[first : first + 2]
        )

    def apply(self, x, multiplier, bias):
        """The rescaled integer."""
        product = T.Cast("int64", x) * T.Cast("int64", multiplier) + bias
        return T.Cast("int32", T.shift_right(product, T.int64(self.shift)))


def rescale(rescaling: Rescaling, lanes: int = WORD):
    """A TIR macro: y[w ..] = the rescaled acc[a ..], for so many channels from `n` on."""

    @T.macro
    def epilogue(acc, a, multiplier, bias, n, y, w):
        for v in T.vectorized(lanes):
            y[w + v] = rescaling.apply(acc[a + v], multiplier[n + v], bias[n + v])

    return epilogue
