"""A process compiles equal kernels once, and others each."""

from __future__ import annotations

import pytest
from tvm.script import tirx as T

from hqc.codegen import tir
from hqc.targets import load_target


def stores(number, name="int32"):
    """A function that stores a number."""

    @T.prim_func(s_tir=True)
    def store(y_p: T.handle(name)):
        y = T.decl_buffer((1,), name, data=y_p)
        y[0] = T.Cast(name, number)

    return store


@pytest.fixture
def asked(nothing_kept, monkeypatch):
    """The symbols that LLVM was asked for."""
    symbols = []
    compile_ = tir._compile

    def counted(functions, target):
        symbols.extend(functions)
        return compile_(functions, target)

    monkeypatch.setattr(tir, "_compile", counted)
    return symbols


def written(folder, functions, target="host"):
    folder.mkdir(exist_ok=True)
    objects = tir.Objects(load_target(target).tvm_target())
    for symbol, function in functions.items():
        objects.add(symbol, function)
    return {name: (folder / name).read_bytes() for name in objects.write(folder)}


def test_equal_functions_are_compiled_once(asked, tmp_path):
    first = written(tmp_path, {"one": stores(1), "two": stores(2)})
    assert written(tmp_path, {"two": stores(2), "one": stores(1)}) == first
    assert sorted(asked) == ["one", "two"]


@pytest.mark.parametrize(
    ("functions", "target"),
    [({"one": stores(3)}, "host"), ({"one": stores(1, "int8")}, "host"), ({"a": stores(1)}, "host"),
     ({"one": stores(1)}, "rv32imc")],
)  # fmt: skip
def test_what_differs_is_compiled(functions, target, asked, tmp_path):
    first = written(tmp_path, {"one": stores(1)})
    assert written(tmp_path, functions, target) != first
    assert len(asked) == 2


def test_so_many_are_kept(asked, tmp_path, monkeypatch):
    monkeypatch.setattr(tir, "_MOST_KEPT", 2)
    for number in (1, 2, 3, 3, 2, 1):
        written(tmp_path, {"one": stores(number)})
    assert len(asked) == 4
    assert len(tir._kept) == 2
