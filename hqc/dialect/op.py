"""What an op of the dialect is: a signature, a body in standard ONNX, a numpy reference."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir

from hqc.errors import UserError

DIALECT = "ai.hqc"
"""Domain of ops that a user writes and of ops on integers."""

KERNEL = "ai.hqc.kernel"
"""Domain of ops on packed spikes: one node becomes one compiled kernel."""

OPSET = 21
"""The version of standard ONNX that function bodies are written in."""

_IMPORTS = f'["" : {OPSET}, "{DIALECT}" : 1, "{KERNEL}" : 1]'


@dataclass(frozen=True)
class Op:
    """An op: `text` is its ONNX function (signature with attribute defaults, and body).

    `reference(*inputs, **attributes)` is the op's meaning in numpy. `check(attributes)` returns
    what is wrong with a node's attributes, or None. `verify(node)` raises `InvariantError` where a
    node of an integer graph, with its operands and their facts, is not what the op takes for
    granted. `lasts` is set where a kernel's output lasts between time steps, in which it adds up or
    keeps what it reads: what reads that runs once, after the last step. `work(node)` is how many
    multiply-accumulates a run makes. `plain` says why its kernel is its definition as loops, for
    any shape and without vectors; it is empty where that is not so.
    """

    text: str
    reference: Callable[..., np.ndarray]
    check: Callable[[dict], str | None] = lambda attributes: None
    verify: Callable[[ir.Node], None] = lambda node: None
    domain: str = DIALECT
    lasts: bool = False
    work: Callable[[ir.Node], int] = lambda node: 0
    plain: str = ""

    @cached_property
    def proto(self) -> onnx.FunctionProto:
        """The function as ONNX stores it in a model."""
        header = f'<opset_import: {_IMPORTS}, domain: "{self.domain}">'
        function = onnx.parser.parse_function(header + self.text)
        function.doc_string = self.reference.__doc__ or ""
        used = {node.domain for node in function.node} | {""}
        for entry in [e for e in function.opset_import if e.domain not in used]:
            function.opset_import.remove(entry)
        return function

    @cached_property
    def body(self) -> ir.Function:
        """The function as models in memory have it: one for all of them, which nothing changes."""
        return ir.serde.deserialize_function(self.proto)

    @property
    def name(self) -> str:
        """The op type."""
        return self.proto.name

    @cached_property
    def defaults(self) -> dict[str, object]:
        """Attributes that have a default value."""
        found = {a.name: onnx.helper.get_attribute_value(a) for a in self.proto.attribute_proto}
        return {n: v.decode() if isinstance(v, bytes) else v for n, v in found.items()}

    def attributes(self, node: ir.Node) -> dict:
        """The node's attributes and the defaults. Raises `UserError` for a bad or missing one."""
        given = {name: attribute.value for name, attribute in node.attributes.items()}
        where = f"node {node.name!r} ({self.domain}::{self.name})"
        known = set(self.proto.attribute) | set(self.defaults)
        if unknown := sorted(set(given) - known):
            names = ", ".join(sorted(known)) or "none"
            raise UserError(
                f"{where}: unknown attribute {unknown[0]!r}", hint=f"its attributes are: {names}"
            )
        if missing := sorted(set(self.proto.attribute) - set(given)):
            raise UserError(f"{where}: attribute {missing[0]!r} is missing")
        for name, default in self.defaults.items():
            numeric = isinstance(default, int | float)
            if numeric and type(given.get(name, default)) is not type(default):
                raise UserError(
                    f"{where}: attribute {name!r} is {given[name]!r}, not of type "
                    f"{type(default).__name__}"
                )
        values = {**self.defaults, **given}
        if problem := self.check(values):
            raise UserError(f"{where}: {problem}")
        return values


_OPS: dict[tuple[str, str], Op] = {}


def register(op: Op) -> Op:
    """Make an op known to hqc; called once by the file that defines it."""
    _OPS[op.domain, op.name] = op
    return op


def ops() -> Iterable[Op]:
    """Every registered op."""
    return _OPS.values()


def find_op(node: ir.Node) -> Op | None:
    """The registered op of a node, None for one of another domain."""
    return _OPS.get((node.domain, node.op_type))


def attached(model: ir.Model) -> dict[ir.OperatorIdentifier, Op]:
    """The ops whose bodies a model has, as `attach_functions` gives them, by their functions."""
    return {
        key: op
        for key, function in model.functions.items()
        if (op := _OPS.get(key[:2])) is not None and op.body is function
    }


def attach_functions(model: ir.Model) -> ir.Model:
    """Give the model the bodies of exactly the ops that it uses, directly or inside a body."""
    model.functions.clear()
    pending = [find_op(node) for node in model.graph.all_nodes()]
    while pending:
        op = pending.pop()
        if op is None or (op.domain, op.name, "") in model.functions:
            continue
        model.functions[op.domain, op.name, ""] = op.body
        model.opset_imports[op.domain] = 1
        pending += [_OPS.get((n.domain, n.op_type)) for n in op.proto.node]
    return model
