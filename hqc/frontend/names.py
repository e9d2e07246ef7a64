"""Names of nodes and layers, each of its own: what messages and reports speak of."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence

import onnx_ir as ir

from hqc.dialect.metadata import LAYER

SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch's exporter says which modules a node was called in."""

_MODULE = "hqc.module"
"""Of a node: the module that it was called in."""

_LAYERS = ("Conv", "Gemm", "MatMul")


def name_nodes(graph: ir.Graph) -> None:
    """Give every node a name that no other has, and every layer its own.

    A node that torch's exporter says the module of is called after it, one without a name after its
    output. Of nodes of one name, all but the first are numbered:
    `conv`, `conv#2`. A layer is called as its node, less the type that exporters add to it:
    `blocks.0.fc` for the node `blocks.0.fc/MatMul`.
    """
    taken: set[str] = set()
    seen: Counter[str] = Counter()
    for node in graph:
        own = _scoped(node) or node.name
        own = own or next((v.name for v in node.outputs if v.name), node.op_type)
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


def _scope(node: ir.Node) -> str:
    """The module that a node was called in, where torch's exporter says so."""
    try:
        scopes = [s for s in ast.literal_eval(node.metadata_props.get(SCOPES, "[]")) if s]
        return str(scopes[-2]) if len(scopes) > 1 else ""
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return ""


def _scoped(node: ir.Node) -> str:
    scope = _scope(node)
    node.metadata_props.pop(SCOPES, None)
    if not scope:
        return ""
    node.metadata_props[_MODULE] = scope
    return f"{scope}/{node.op_type}"


def layer_of(nodes: Sequence[ir.Node]) -> str:
    """What a layer that several nodes make up is called: their module, or the first of them."""
    for node in nodes:
        if scope := node.metadata_props.get(_MODULE):
            return scope
    first = nodes[0].name
    folder, _, _ = first.rpartition("/")
    return folder.strip("/") or first
