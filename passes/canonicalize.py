"""Many spellings become few ops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from hqc.passes.graph import remove_unused
from hqc.passes.pass_base import Pass, register
from hqc.passes.spellings import Rewrite, find_spellings


@register
@dataclass(frozen=True)
class Canonicalize(Pass):
    """Write what has several spellings in the one that later passes lower, exactly.

    The spellings are files of `passes/spellings`; what none applies to stays as it is.
    """

    name: ClassVar[str] = "canonicalize"
    tolerance: ClassVar[float] = 1e-5

    def run(self, model: ir.Model) -> ir.Model:
        """Rewrite node by node, new nodes too, until no spelling applies."""
        pending = list(model.graph)
        while pending:
            node = pending.pop(0)
            if not any(v.uses() or v.is_graph_output() for v in node.outputs):
                continue
            if any(v.shape is None for v in node.outputs):
                continue  # of a pass that says no shapes, as unroll-lif
            for write in find_spellings(node):
                before = set(model.graph)
                write(Rewrite(model.graph, node))
                if node.graph is None:
                    pending = [n for n in model.graph if n not in before] + pending
                    break
        remove_unused(model)
        return model
