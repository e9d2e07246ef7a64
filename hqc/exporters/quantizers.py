"""The quantizers of a dialect model, as other notations need them: codes, scales, ends."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT, KERNEL, find_op
from hqc.dialect.metadata import STANDS_FOR
from hqc.dialect.quant_pow2 import magnitudes, pow2_codes
from hqc.dialect.quant_uniform import along, code_range, uniform_codes
from hqc.errors import UserError
from hqc.frontend.foreign.constants import Constants
from hqc.frontend.operands import ON_FLOATS
from hqc.passes.graph import unsupported


@dataclass(frozen=True)
class Quantizer:
    """A quantizer node: codes from `low` to `high` times `scale`, one or one a channel of `axis`.

    `weights` are the numbers that it is given and `codes` those that they become, where they are
    constants; both are None for an activation.
    """

    node: ir.Node
    scale: np.ndarray
    axis: int
    low: int
    high: int
    weights: np.ndarray | None
    codes: np.ndarray | None

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node.name

    @property
    def quantized(self) -> np.ndarray:
        """What the weights become."""
        return self.codes.astype(np.float32) * along(self.axis, self.scale, self.codes.ndim)


def check_floats(model: ir.Model) -> None:
    """Raise `UserError` for a model that is lowered already."""
    for node in model.graph:
        is_lowered = node.domain == DIALECT and node.op_type not in ON_FLOATS
        if is_lowered or node.domain == KERNEL:
            raise UserError(
                f"node {node.name!r} ({node.domain}::{node.op_type}) is an op on integers",
                hint="start from the dialect model",
            )


def quantizers(graph: ir.Graph) -> list[Quantizer]:
    """All of a graph. Raises `UnsupportedModelError` for one that no notation has."""
    constants = Constants()
    nodes = [n for n in graph if n.domain == DIALECT and n.op_type.startswith("Quant")]
    return [_quantizer(node, constants) for node in nodes]


def _quantizer(node: ir.Node, constants: Constants) -> Quantizer:
    attributes = find_op(node).attributes(node)
    x, scale = node.inputs
    if not constants.is_constant(scale) or not np.all(constants.array(scale) > 0):
        raise unsupported(node, "its scale is no constant above 0", "only such can be written")
    step = constants.array(scale).astype(np.float32).reshape(-1)
    weights = constants.array(x) if constants.is_constant(x) else None
    axis = attributes["axis"] % len(x.shape)
    if node.op_type == "QuantUniform":
        ends = code_range(*(attributes[n] for n in ("bits", "signed", "narrow")))
        codes = None if weights is None else uniform_codes(weights, step, **attributes)
    else:
        if weights is None:
            raise unsupported(
                node, "it quantizes an activation to powers of two", "only weights can be written"
            )
        count = magnitudes(attributes["bits"])
        most = 2 ** (count - 1)
        ends, codes = (-most, most), pow2_codes(weights, step, **attributes)
        step = step * np.float32(2.0 ** (1 - count))
    whole = None if codes is None else codes.astype(np.int64)
    return Quantizer(node, step, axis, *ends, weights, whole)


def stands_for(node: ir.Node) -> dict[str, str]:
    """Metadata that say which node of the dialect is written as another."""
    attributes = {k: v for k, v in find_op(node).attributes(node).items() if k != "axis"}
    return {STANDS_FOR: json.dumps({"op_type": node.op_type, **attributes})}
