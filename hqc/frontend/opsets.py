"""Models of other versions of standard ONNX, and with functions of their own, brought to ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx.inliner
import onnx.version_converter

from hqc.dialect import DIALECT, KERNEL, OPSET, ops
from hqc.errors import UnsupportedModelError, UserError, in_short
from hqc.frontend.foreign import is_foreign

_OLDEST, _SAME, _NEWEST = 11, 18, 25
"""Opsets that are taken; from `_SAME` on, what hqc lowers means what it means in `OPSET`."""

_STANDARD = ("", "ai.onnx")
_OURS = (DIALECT, KERNEL)


def check_ops(path: Path, proto: onnx.ModelProto) -> None:
    """Raise `UserError` for versions that are not known, and for ops without a meaning here.

    The bodies that the file has of our ops are dropped: this hqc has its own. Functions get the
    model's opset where that means the same.
    """
    versions = _versions(proto)
    standard = versions.get("", 1)
    if not _OLDEST <= standard <= _NEWEST:
        raise UserError(
            f"{path}: opset {standard} is not one of {_OLDEST} to {_NEWEST}", hint=_EXPORT
        )
    for domain in _OURS:
        if versions.get(domain, 1) != 1:
            raise UserError(
                f"{path}: version {versions[domain]} of {domain}; this hqc knows version 1",
                hint="upgrade hqc",
            )
    for function in [f for f in proto.functions if f.domain in _OURS]:
        proto.functions.remove(function)
    for entry in [e for f in proto.functions for e in f.opset_import if e.domain in _STANDARD]:
        if min(entry.version, standard) >= _SAME:
            entry.version = standard
    known = {(f.domain, f.name) for f in proto.functions} | {(op.domain, op.name) for op in ops()}
    for node in [*_nodes(proto.graph.node), *(n for f in proto.functions for n in _nodes(f.node))]:
        if node.domain in _STANDARD or (node.domain, node.op_type) in known:
            continue
        if not is_foreign(node.domain, node.op_type):
            raise UnsupportedModelError(
                f"{path}: node {node.name!r} is {node.domain}::{node.op_type}, which has no body",
                hint="write it in standard ONNX, or as QuantUniform, QuantPow2 or LIF of ai.hqc",
            )
        if node.domain not in versions:
            proto.opset_import.add(domain=node.domain, version=1)  # as QONNX leaves it out
            versions[node.domain] = 1


def with_our_opset(path: Path, proto: onnx.ModelProto) -> onnx.ModelProto:
    """A checked model with standard ops of `OPSET` and without functions.

    Raises `UserError` where an op cannot be brought to the newer version exactly.
    """
    versions = _versions(proto)
    standard = versions[""]
    try:
        if proto.functions:
            proto = onnx.inliner.inline_local_functions(proto)
        if standard < _SAME:
            proto = onnx.version_converter.convert_version(proto, _SAME)
    except Exception as error:  # they raise whatever they stumble over
        raise UserError(
            f"{path}: opset {standard} cannot be brought to {OPSET}: {in_short(error)}",
            hint=_EXPORT,
        ) from None
    for node in _nodes(proto.graph.node):
        if node.domain in _STANDARD:
            node.domain = ""
    del proto.opset_import[:]
    for domain, version in (versions | {"": OPSET}).items():
        proto.opset_import.add(domain=domain, version=version)
    return proto


def _versions(proto: onnx.ModelProto) -> dict[str, int]:
    return {"" if e.domain in _STANDARD else e.domain: e.version for e in proto.opset_import}


_EXPORT = f"export the model with opset_version={OPSET}"


def _nodes(nodes) -> Iterator[onnx.NodeProto]:
    """The nodes, and those of the graphs inside them."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (*attribute.graphs, attribute.g):
                yield from _nodes(graph.node)
