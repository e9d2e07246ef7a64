"""Max-pooling of spikes is an OR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.passes.graph import ints, unsupported
from hqc.passes.infer_ranges import RANGE
from hqc.passes.pass_base import Pass, register


@register
@dataclass(frozen=True)
class OrPooling(Pass):
    """MaxPool of a value in {0, 1} -> OrPool."""

    name: ClassVar[str] = "or-pooling"

    def run(self, model: ir.Model) -> ir.Model:
        """Rewrite every MaxPool over spikes; refuse one over larger integers."""
        for node in model.graph:
            if node.domain or node.op_type != "MaxPool":
                continue
            high = int(node.inputs[0].metadata_props.get(RANGE, 0))
            if high != 1:
                raise unsupported(
                    node,
                    f"pools integers up to {high}; only spikes can be pooled",
                    "pool the spikes before they are summed",
                )
            kernel = ints(node, "kernel_shape", ())
            pool = ir.node(
                "OrPool",
                [node.inputs[0]],
                {
                    "kernel_shape": kernel,
                    "strides": ints(node, "strides", [1] * len(kernel)),
                    "pads": ints(node, "pads", [0] * 2 * len(kernel)),
                },
                domain=DIALECT,
                name=node.name,
            )
            old, new = node.outputs[0], pool.outputs[0]
            new.name, new.shape, new.type = old.name, old.shape, old.type
            new.metadata_props[RANGE] = "1"
            old.replace_all_uses_with(new, replace_graph_outputs=True)
            model.graph.insert_after(node, pool)
            model.graph.remove(node, safe=True)
        return model
