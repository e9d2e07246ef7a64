"""TVM's reader of TVMScript, without what it does again and again.

Its evaluator turns every name, number, item and call of an expression into a syntax tree of Python,
compiles that and runs it; it reads the text of a macro anew wherever the macro is used. Together
that is two thirds of the time that a kernel takes to be built. The functions that are replaced here
are TVM's own, of the versions that hqc depends on, and what is built stays the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from types import CodeType
from typing import Any

from tvm.script.parser.core import diagnostics, doc, evaluator, utils
from tvm.script.parser.core.parser import ScriptMacro

_PARSER = ScriptMacro.parser_object_name
_CALL = compile("f(*positional, **named)", "<call>", "eval")
_UNKNOWN = object()
_by_compiling = evaluator._eval_expr
_parse = cache(doc.parse)


def quicken() -> None:
    """Replace the slow functions, in this process."""
    evaluator._eval_expr = _evaluated
    diagnostics.Source.as_ast = lambda source: _parse(source.source)
    diagnostics.getsourcelines = _once_for_all_closures(diagnostics.getsourcelines)
    utils._collect_annotation_names = _once_for_all_closures(utils._collect_annotation_names)


def _evaluated(node: doc.AST, table: dict[str, Any]) -> Any:
    """The value of an expression, whose parts TVM has evaluated and named in the table."""
    parts = _parts(node, table)
    if parts is None or any(part is _UNKNOWN for part in parts):
        return _by_compiling(node, table)
    match node:
        case doc.Attribute(attr=name):
            return getattr(parts[0], name)
        case doc.Subscript():
            return parts[0][parts[1]]
        case doc.Tuple():
            return tuple(parts)
        case doc.Call(args=positional, keywords=keywords):
            rest = 1 + len(positional)
            named = {k.arg: value for k, value in zip(keywords, parts[rest:], strict=True)}
            # Macros look for the parser among the globals of those that call them.
            given = {"f": parts[0], "positional": parts[1:rest], "named": named}
            return eval(_CALL, given | {_PARSER: table.get(_PARSER)})
    return parts[0]


def _parts(node: doc.AST, table: dict[str, Any]) -> list[Any] | None:
    """What is needed to evaluate an expression of a kind that `_evaluated` knows, in order."""
    match node:
        case doc.Name() | doc.Constant():
            nodes = [node]
        case doc.Attribute(value=owner):
            nodes = [owner]
        case doc.Subscript(value=owner, slice=index):
            nodes = [owner, index]
        case doc.Tuple(elts=elements):
            nodes = elements
        case doc.Call(func=function, args=positional, keywords=keywords):
            if any(k.arg is None for k in keywords):  # f(**named)
                return None
            nodes = [function, *positional, *(k.value for k in keywords)]
        case _:
            return None
    return [_leaf(part, table) for part in nodes]


def _leaf(node: doc.AST, table: dict[str, Any]) -> Any:
    match node:
        case doc.Name(id=name):
            return table.get(name, _UNKNOWN)
        case doc.Constant(value=value):
            return value
    return _UNKNOWN


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
