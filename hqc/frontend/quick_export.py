"""Torch's exporter, without what it does again and again.

For each export it writes its table of ONNX's functions anew, and asks many times over which ops C++
has registered; for each node it keeps where in Python it was made, which hqc does not read. Its
optimizer tries every rule on every node, and looks through the whole graph for a rule that has two
outputs, though most nodes are of other ops than the rule's. What is replaced here is torch's and
onnxscript's own: of the versions that it is tested with, whose exports stay the same. Others take
as long as they take.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import Any

import torch

_TESTED = {"torch": "2.13.", "onnxscript": "0.7."}


@contextmanager
def quick() -> Iterator[None]:
    """While it lasts, exports are made quickly."""
    replaced: list[tuple[Any, str, Any]] = []
    try:
        for module, owner, name, faster in _FASTER if _are_tested() else ():
            holder = import_module(module)
            holder = getattr(holder, owner) if owner else holder
            own = vars(holder)[name]
            replaced.append((holder, name, own))
            setattr(holder, name, faster(own))
        yield
    finally:
        for holder, name, own in reversed(replaced):
            setattr(holder, name, own)


def _are_tested() -> bool:
    """Whether torch and onnxscript are of the versions that this is tested with."""
    return all(version(package).startswith(tested) for package, tested in _TESTED.items())


@cache
def _written_once(write: classmethod) -> classmethod:
    """Of a table's class: the table is written once, and each export has a copy, which it fills."""

    @cache
    def written(cls: type, *arguments: Any, **named: Any) -> Any:
        return write.__func__(cls, *arguments, **named)

    def copied(cls: type, *arguments: Any, **named: Any) -> Any:
        table = copy.copy(written(cls, *arguments, **named))
        table.functions = {name: [*found] for name, found in table.functions.items()}
        return table

    return classmethod(copied)


@cache
def _of_its_op(match: Callable) -> Callable:
    """Of a rule's pattern: it is tried on nodes of the op that it ends in."""

    def matched(self: Any, model: Any, graph: Any, node: Any, **options: Any) -> Any:
        op = self.pattern.output_nodes[0].op_identifier()
        if op is not None and op[:2] != (node.domain, node.op_type):
            return None
        return match(self, model, graph, node, **options)

    return matched


@cache
def _when_there_are_others(materialize: Callable[[], None]) -> Callable[[], None]:
    """Of what makes torch's names of the ops that C++ has registered: it is done for new ones."""
    known: list[str] = []

    def materialized() -> None:
        found = torch._C._dispatch_get_registrations_for_dispatch_key("CompositeImplicitAutograd")
        if found != known:
            materialize()
            known[:] = found

    return materialized


_FASTER: tuple[tuple[str, str, str, Callable], ...] = (
    (
        "torch.onnx._internal.exporter._registration",
        "ONNXRegistry",
        "from_torchlib",
        _written_once,
    ),
    ("torch._export.utils", "", "_materialize_cpp_cia_ops", _when_there_are_others),
    ("torch.fx.config", "", "do_not_emit_stack_traces", lambda own: True),
    ("onnxscript.rewriter._matcher", "SimplePatternMatcher", "match", _of_its_op),
)
