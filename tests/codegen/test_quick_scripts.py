"""Kernels are built quickly, and are what TVM's own reader of scripts builds."""

from __future__ import annotations

import pytest
import tvm
from tvm.error import DiagnosticError
from tvm.script import tirx as T
from tvm.script.parser.core import doc

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
        for owner, name, own in quick_scripts._SLOW:
            monkeypatch.setattr(owner, name, own)

    return put_back


def kernels(path):
    """Every kernel of a model, for a target with vectors."""
    target = load_target("arm-a72")
    lowered = lower(load_model(path), pipeline_for(target, None)).kernels
    calls = [find_kernel(n)(n, True) for n in lowered.graph if n.op_type != "Reshape"]
    return [call.build() for call in calls]


@pytest.mark.parametrize("which", ["tiny_model", None])
def test_functions_are_those_of_tvms_own_reader(which, slow, request):
    path = request.getfixturevalue(which) if which else MODEL
    quick = kernels(path)
    slow()
    own = kernels(path)
    assert [f.script(show_meta=True) for f in quick] == [f.script(show_meta=True) for f in own]
    for a, b in zip(quick, own, strict=True):
        tvm.ir.assert_structural_equal(a, b)
    assert len({f.script() for f in quick}) > 5


def evaluated(text, table, reader=None):
    return quick_scripts._evaluated(reader, doc.parse(text, mode="eval").body, table)


def test_expressions_have_the_values_that_python_gives_them():
    table = {"f": lambda *p, **k: (p, k), "g": {"x": 1}, "a": [3, 4], "n": 1, "t": True}
    for text in (
        "f(a, 2, k=n)", "f(*a)", "f(**g)", "a[n]", "a.count", "(n, a)", "len(a)", "-n", "not t",
        "n + 2 * n", "n << 3", "n == 1", "n in a", "a is not n", "n == 1 and t", "not t or a[n]",
        "a if t else missing", "missing if not t else n", "t or missing", "not t and missing",
        "[x + n for x in a]", "f(n)[0][0]",
    ):  # fmt: skip
        assert evaluated(text, table) == eval(text, dict(table)), text


def test_operators_are_tvms_where_it_has_its_own():
    x = tvm.tirx.Var("x", "int32")
    for text, op in (("x == 1", tvm.tirx.EQ), ("x < 1 and x > 0", tvm.tirx.And),
                     ("x + 1", tvm.tirx.Add), ("not x < 1", tvm.tirx.Not)):  # fmt: skip
        assert isinstance(evaluated(text, {"x": x}), op)
    chosen = evaluated("2 if x < 1 else 3", {"x": x})
    assert chosen.op.name == "prim.if_then_else"
    with pytest.raises(TypeError, match="bool"):
        quick_scripts._choose(x, lambda: 1, lambda: 2)


def test_no_part_of_an_expression_is_evaluated_twice():
    seen = []
    table = {"f": lambda *p: p, "g": lambda n: seen.append(n) or n}
    assert evaluated("f(g(1), *[2])", table) == (1, 2)
    assert evaluated("g(2) + (g(3) if g(4) == 4 else g(5))", table) == 5
    assert seen == [1, 2, 4, 3]


def test_what_python_does_not_decide_is_left_to_tvm():
    """Chained comparisons, and slices, which it reads in its own way."""
    for text in ("0 < n < 2", "a[0:n]"):
        node = doc.parse(text, mode="eval").body
        assert quick_scripts._code_of(node) is None


def test_a_fault_of_a_script_is_said_where_it_is():
    with pytest.raises(DiagnosticError, match="nowhere"):

        @T.prim_func(s_tir=True)
        def faulty(y_p: T.handle("int32")):
            y = T.decl_buffer((1,), "int32", data=y_p)
            y[0] = nowhere + 1  # noqa: F821
