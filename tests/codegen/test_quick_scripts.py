"""Kernels are built quickly, and are what TVM's own reader of scripts builds."""

from __future__ import annotations

import pytest
from tvm.script.parser.core import diagnostics, doc, evaluator, utils

from hqc.codegen import quick_scripts
from hqc.codegen.kernels import find_kernel
from hqc.compiler import lower, pipeline_for
from hqc.frontend.load import load_model
from hqc.targets import load_target
from tests.conftest import MODEL


@pytest.fixture
def slow(monkeypatch):
    """Put TVM's own functions back."""

    def put_back():
        read = quick_scripts._by_compiling
        monkeypatch.setattr(evaluator, "_eval_expr", read)
        monkeypatch.setattr(diagnostics.Source, "as_ast", lambda source: doc.parse(source.source))
        for module, name in ((diagnostics, "getsourcelines"), (utils, "_collect_annotation_names")):
            monkeypatch.setattr(module, name, getattr(module, name).__wrapped__)

    return put_back


def kernels(path):
    """The text of every kernel of a model, for a target with vectors."""
    target = load_target("arm-a72")
    lowered = lower(load_model(path), pipeline_for(target, None)).kernels
    calls = [find_kernel(n)(n, True) for n in lowered.graph if n.op_type != "Reshape"]
    return [call.build().script() for call in calls]


@pytest.mark.parametrize("which", ["tiny_model", None])
def test_functions_are_those_of_tvms_own_reader(which, slow, request):
    path = request.getfixturevalue(which) if which else MODEL
    quick = kernels(path)
    slow()
    assert kernels(path) == quick
    assert len(set(quick)) > 5


def test_expressions_have_the_values_that_python_gives_them():
    table = {"f": lambda *p, **k: (p, k), "g": {"x": 1}, "a": [3, 4], "n": 1}
    for text in ("f(a, 2, k=n)", "f(*a)", "f(**g)", "a[n]", "a[n:]", "a.count", "(n, a)", "len(a)"):
        node = doc.parse(text, mode="eval").body
        assert quick_scripts._evaluated(node, table) == eval(text, dict(table))


def test_no_part_of_an_expression_is_evaluated_twice():
    seen = []
    table = {"f": lambda *p: p, "g": lambda n: seen.append(n) or n}
    node = doc.parse("f(g(1), *[2])", mode="eval").body
    assert quick_scripts._evaluated(node, table) == (1, 2)
    assert seen == [1]
