"""Rules, by the op that they lower: one file per kind of op registers its own."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import onnx_ir as ir

from hqc.errors import UnsupportedModelError
from hqc.passes.graph import unsupported
from hqc.passes.integer_rules.quantity import Lowering, Quantity, Weights
from hqc.passes.spellings import find_spellings


@dataclass(frozen=True)
class Rule:
    """How an op is lowered; `attributes` names all that the lowering reads, others are refused."""

    lower: Callable[[ir.Node, Lowering], Quantity | Weights | None]
    attributes: frozenset[str]

    def __call__(self, node: ir.Node, lowering: Lowering) -> Quantity | Weights | None:
        """Lower a node. Raises `UnsupportedModelError` for what the lowering would overlook."""
        for name in node.attributes:
            if not node.domain and name not in self.attributes:
                raise unsupported(node, f"its attribute {name!r} is not lowered")
        for value in node.outputs[1:]:
            if value.uses() or value.is_graph_output():
                raise unsupported(node, f"its output {value.name!r} is not lowered, only the first")
        return self.lower(node, lowering)


_RULES: dict[tuple[str, str], Rule] = {}


def rule(
    *op_types: str, domain: str = "", attributes: Collection[str] = ()
) -> Callable[[Callable], Callable]:
    """Register the decorated function as the lowering of those ops."""

    def register(function: Callable) -> Callable:
        for op_type in op_types:
            _RULES[domain, op_type] = Rule(function, frozenset(attributes))
        return function

    return register


def rules() -> dict[tuple[str, str], Rule]:
    """Every rule, by domain and op."""
    return dict(_RULES)


def find_rule(node: ir.Node) -> Rule:
    """The rule of a node. Raises `UnsupportedModelError`, naming what can be lowered."""
    try:
        return _RULES[node.domain, node.op_type]
    except KeyError:
        form = " as it is written here" if find_spellings(node) else ""
        raise UnsupportedModelError(
            f"node {node.name!r}: hqc has no integer lowering for "
            f"{node.domain + '::' if node.domain else ''}{node.op_type}{form}",
            hint="`hqc ops` lists what is lowered; docs/extending.md says how to add a rule",
        ) from None
