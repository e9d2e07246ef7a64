"""Loops that hqc itself wrote in place of neurons become these again."""

from __future__ import annotations

import json

import onnx_ir as ir

from hqc.dialect import DIALECT, find_op
from hqc.dialect.metadata import STANDS_FOR, WRITTEN
from hqc.errors import UserError


def find_written(graph: ir.Graph) -> list[tuple[ir.Value, ir.Value]]:
    """The spikes of a Scan whose metadata name neurons, and these, put before each."""
    pairs = []
    for node in list(graph):
        if node.domain or node.op_type != "Scan" or STANDS_FOR not in node.metadata_props:
            continue
        made = _neurons(node)
        if made is None:
            continue
        old, new = node.outputs[1], made.outputs[0]
        node.name = f"{node.name}.written"
        made.metadata_props[WRITTEN] = node.op_type
        new.name, new.shape, new.type = f"{old.name}.neurons", old.shape, old.type
        graph.insert_before(node, made)
        pairs.append((old, new))
    return pairs


def _neurons(node: ir.Node) -> ir.Node | None:
    """The node that metadata speak of; None where they are not as hqc writes them."""
    try:
        said = json.loads(node.metadata_props[STANDS_FOR])
        op_type = said.pop("op_type")
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    if op_type not in ("LIF", "IntegerLIF") or len(node.inputs) != 2 or len(node.outputs) != 2:
        return None
    try:
        made = ir.node(op_type, [node.inputs[1]], said, domain=DIALECT, name=node.name)
        find_op(made).attributes(made)
    except (TypeError, UserError):
        return None
    return made
