"""Quantizers of weights become plain float weights, for runtimes that know no quantizers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from hqc.dialect import DIALECT, find_op
from hqc.passes.graph import add_initializer, constant
from hqc.passes.pass_base import Pass, register


@register
@dataclass(frozen=True)
class FoldQuantizers(Pass):
    """QuantUniform or QuantPow2 of an initializer -> an initializer of quantized floats."""

    name: ClassVar[str] = "fold-quantizers"
    tolerance: ClassVar[float] = 1e-6

    def run(self, model: ir.Model) -> ir.Model:
        """Evaluate every such quantizer by its reference."""
        for node in model.graph:
            arrays = [constant(v) for v in node.inputs]
            quantizes = node.domain == DIALECT and node.op_type.startswith("Quant")
            if not quantizes or any(a is None for a in arrays):
                continue
            op, old = find_op(node), node.outputs[0]
            folded = op.reference(*arrays, **op.attributes(node))
            value = add_initializer(model.graph, folded, f"{old.name}.folded")
            old.replace_all_uses_with(value)
            model.graph.remove(node, safe=True)
        return model
