"""Where the compiler refuses: found by reading its source, and by what an error went through."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import FrameType, ModuleType

import hqc.codegen
import hqc.passes
from hqc.dialect import Op, ops

_PACKAGES = (hqc.passes, hqc.codegen)
_MODULES = (
    *("hqc.compiler", "hqc.tuning", "hqc.tuning_records", "hqc.dialect.op"),
    *("hqc.frontend.load", "hqc.frontend.names", "hqc.frontend.operands"),
    *("hqc.frontend.opsets", "hqc.frontend.frames", "hqc.frontend.tensors"),
    *("hqc.frontend.control_flow", "hqc.frontend.raising", "hqc.frontend.stored_codes"),
)

_ERRORS = {"UserError", "UnsupportedModelError", "unsupported"}


@dataclass(frozen=True)
class Site:
    """A statement that refuses, or a check that says what is wrong with attributes."""

    module: str
    first: int
    last: int
    text: str

    def __str__(self) -> str:
        return f"{self.module}:{self.first}: {self.text}"


def _modules() -> Iterator[ModuleType]:
    for package in _PACKAGES:
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield importlib.import_module(found.name)
    yield from map(importlib.import_module, _MODULES)


@cache
def sites() -> frozenset[Site]:
    """Every place in the compiler where a model or an option is refused."""
    found = set()
    for module in _modules():
        tree = _tree(module)
        raised = _ERRORS | {f.name for f in _functions(tree) if _returns_error(f)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and _called(node.exc) in raised:
                found.add(_site(module.__name__, node))
    for op in ops():
        found |= set(_sites_of_check(op))
    return frozenset(found)


def _tree(module: ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))


def _called(node: ast.AST | None) -> str:
    """The name of the function that an expression calls."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id
    return ""


def _returns_error(function: ast.FunctionDef) -> bool:
    returns = (n for n in ast.walk(function) if isinstance(n, ast.Return))
    return any(_called(n.value) in _ERRORS for n in returns)


def _site(module: str, node: ast.stmt | ast.Lambda) -> Site:
    text = " ".join(ast.unparse(node).split())
    return Site(module, node.lineno, node.end_lineno or node.lineno, text)


def _sites_of_check(op: Op) -> Iterator[Site]:
    """What an op's `check` says: its returns, or the lambda that it is."""
    if op.check is Op.check:
        return
    code = op.check.__code__
    module = sys.modules[op.check.__module__]
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.FunctionDef | ast.Lambda) and node.lineno == code.co_firstlineno:
            if isinstance(node, ast.Lambda):
                yield _site(module.__name__, node)
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return) and _says_something(inner.value):
                    yield _site(module.__name__, inner)


def _says_something(value: ast.expr | None) -> bool:
    """Whether a returned expression has a text of its own: neither None nor another check's."""
    return not isinstance(value, ast.Call | ast.Constant) or isinstance(
        getattr(value, "value", None), str
    )


def sites_of(error: BaseException | None) -> frozenset[Site]:
    """The places that an error, and those that it was raised from, came from."""
    places = set()
    while error is not None:
        traceback = error.__traceback__
        while traceback is not None and traceback.tb_next is not None:
            traceback = traceback.tb_next
        if traceback is not None:
            frame = traceback.tb_frame
            places.add((frame.f_globals["__name__"], traceback.tb_lineno))
            if frame.f_code is Op.attributes.__code__:
                places |= _said(frame.f_locals["self"], frame.f_locals.get("values"))
        error = error.__cause__ or error.__context__
    return frozenset(
        s for s in sites() if any(s.module == m and s.first <= n <= s.last for m, n in places)
    )


def _said(op: Op, values: dict | None) -> set[tuple[str, int]]:
    """Where an op's check returned what is wrong with the values."""
    places: set[tuple[str, int]] = set()

    def trace(frame: FrameType, event: str, argument: object):
        if event == "return" and isinstance(argument, str):
            places.add((frame.f_globals["__name__"], frame.f_lineno))
        return trace

    if values is not None:
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            op.check(values)
        finally:
            sys.settrace(before)
    return places
