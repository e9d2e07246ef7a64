"""TVM's reader of TVMScript, without what it does again and again.

Its evaluator visits an expression part by part, and turns each into a syntax tree of Python, which
it compiles and runs, with a record of where in the script it is; it reads the text of a macro anew
wherever the macro is used. Together that is four fifths of the time that a kernel takes to be
built. Here an expression becomes one piece of Python, once for all its uses. The functions that are
replaced are TVM's own, of the versions that hqc depends on, and what is built stays the same, but
for the places in scripts, which nothing reads.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache, wraps
from types import CodeType
from typing import Any

import tvm
from tvm.script.parser.core import diagnostics, doc, evaluator, parser, utils
from tvm.tirx.script.parser import parser as tirx_parser

_by_visiting = parser.eval_expr
_by_assigning = parser.eval_assign
_by_rewriting = tirx_parser._eval_signature_annotation
_parse = cache(doc.parse)
_NOWHERE = nullcontext()


def quicken() -> None:
    """Replace the slow functions, in this process."""
    for owner, name, quick in _QUICK:
        setattr(owner, name, quick)


def _evaluated(reader: parser.Parser, node: doc.AST, table: dict[str, Any]) -> Any:
    """The value of an expression, in whose names the reader's macros find the reader."""
    code = _code_of(node)
    if code is None:
        return _by_visiting(reader, node, table)
    try:
        return eval(code, table | _OPERATORS)
    except Exception as error:
        reader.report_error(node, error)


def _code_of(node: doc.AST) -> CodeType | None:
    """The code of an expression, which is kept with it; None of a kind that is left to TVM."""
    if not hasattr(node, "hqc_code"):
        try:
            body = ast.Expression(_Written().visit(doc.from_doc(node)))
            node.hqc_code = compile(ast.fix_missing_locations(body), "<script>", "eval")
        except NotImplementedError:
            node.hqc_code = None
    return node.hqc_code


class _Written(ast.NodeTransformer):
    """An expression whose operators are calls: TVM has its own for some types."""

    _AS_THEY_ARE = (
        ast.Name, ast.Constant, ast.Attribute, ast.Subscript, ast.Tuple, ast.Call, ast.keyword,
        ast.Starred, ast.expr_context,
    )  # fmt: skip

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if not isinstance(node, self._AS_THEY_ARE):
            raise NotImplementedError
        return super().generic_visit(node)

    def visit_ListComp(self, node: ast.ListComp) -> ast.AST:
        """One of Python's own, operators and all."""
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        return _call(_operate, node.op, self.visit(node.left), self.visit(node.right))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        return _call(_operate, node.op, self.visit(node.operand))

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        if len(node.ops) > 1:
            raise NotImplementedError
        (op,), (right,) = node.ops, node.comparators
        return _call(_operate, op, self.visit(node.left), self.visit(right))

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        return _call(_connect, node.op, *(_later(self.visit(value)) for value in node.values))

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        parts = (_later(self.visit(part)) for part in (node.body, node.orelse))
        return _call(_choose, None, self.visit(node.test), *parts)


def _call(function: Callable, op: ast.AST | None, *arguments: ast.expr) -> ast.expr:
    named: list[ast.expr] = [] if op is None else [ast.Constant(type(op).__name__)]
    return ast.Call(ast.Name(function.__name__, ast.Load()), [*named, *arguments], [])


def _later(value: ast.expr) -> ast.expr:
    nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    return ast.Lambda(nothing, value)


_OPS = {op.__name__: op() for op in evaluator.DEFAULT_OP}


def _operate(op: str, *values: Any) -> Any:
    return evaluator._eval_op(_OPS[op], list(values))


def _connect(op: str, *values: Callable[[], Any]) -> Any:
    """And, Or: what follows is evaluated unless a bool of Python decides."""
    found = values[0]()
    for value in values[1:]:
        if isinstance(found, bool) and found is (op == "Or"):
            return found
        found = _operate(op, found, value())
    return found


def _choose(test: Any, body: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
    """One of both where Python knows which, else an expression that chooses."""
    if isinstance(test, bool):
        return body() if test else otherwise()
    if tvm.ir.is_prim_expr(test) and test.ty.matches_code(tvm.DataTypeCode.BOOL):
        return tvm.tirx.op.if_then_else(test, body(), otherwise())
    raise TypeError(f"Expected Python bool or TIR bool, but got {type(test)}")


_OPERATORS = {function.__name__: function for function in (_operate, _connect, _choose)}


def _assigned(reader: parser.Parser, target: doc.AST, source: Any) -> dict[str, Any]:
    """What an assignment to a target gives its names."""
    if isinstance(target, doc.Name):
        return {target.id: source}
    return _by_assigning(reader, target, source)


def _annotation(reader: parser.Parser, node: doc.AST, *arguments: Any, **options: Any) -> Any:
    """The value of a parameter's annotation, which TVM rewrites where it is a buffer's.

    It may read what only Python knows, which has evaluated it: TVM then takes that.
    """
    is_handle = isinstance(node, doc.Call) and getattr(node.func, "attr", None) == "handle"
    code = _code_of(node) if is_handle else None
    if code is None:
        return _by_rewriting(reader, node, *arguments, **options)
    return eval(code, reader.var_table.get() | _OPERATORS)


def _once_for_all_closures(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function, which reads source text, called once for closures of the same code."""
    known: dict[CodeType, Any] = {}

    @wraps(read)
    def remembered(thing: Any) -> Any:
        code = getattr(thing, "__code__", None)
        if code is None:
            return read(thing)
        if code not in known:
            known[code] = read(thing)
        return known[code]

    return remembered


_QUICK: tuple[tuple[Any, str, Callable], ...] = (
    (parser, "eval_expr", _evaluated),
    (parser, "eval_assign", _assigned),
    (parser.Parser, "with_source_span", lambda self, node: _NOWHERE),
    (parser.Parser, "annotate_current_source_span", lambda self, value: value),
    (tirx_parser, "_eval_signature_annotation", _annotation),
    (diagnostics.Source, "as_ast", lambda source: _parse(source.source)),
    (diagnostics, "getsourcelines", _once_for_all_closures(diagnostics.getsourcelines)),
    (utils, "_collect_annotation_names", _once_for_all_closures(utils._collect_annotation_names)),
)
_SLOW = tuple((owner, name, getattr(owner, name)) for owner, name, _ in _QUICK)
"""TVM's own."""
