"""Names of nodes and layers, each of its own: what messages and reports speak of."""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir

from hqc.dialect.metadata import LAYER

_LAYERS = ("Conv", "Gemm", "MatMul")


def name_nodes(graph: ir.Graph) -> None:
    """Give every node a name that no other has, and every layer its own.

    A node without a name takes its output's. Of nodes of one name, all but the first are numbered:
    `conv`, `conv#2`. A layer is called as its node, less the type that exporters add to it:
    `blocks.0.fc` for the node `blocks.0.fc/MatMul`.
    """
    taken: set[str] = set()
    seen: Counter[str] = Counter()
    for node in graph:
        own = node.name or next((v.name for v in node.outputs if v.name), node.op_type)
        name = own
        while name in taken:
            seen[own] += 1
            name = f"{own}#{seen[own] + 1}"
        node.name = name
        taken.add(name)
    layers = [node for node in graph if not node.domain and node.op_type in _LAYERS]
    names = {node.name for node in layers}
    for node in layers:
        layer = node.name.removesuffix(f"/{node.op_type}")
        node.metadata_props[LAYER] = node.name if layer in names else layer
        names.add(layer)
