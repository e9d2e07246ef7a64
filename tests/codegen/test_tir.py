"""Objects from TIR, whatever else is compiled meanwhile."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import sleep

import pytest
from tvm.script import tirx as T

from hqc.codegen import tir
from hqc.codegen.kernels.kernel_base import ANY
from hqc.codegen.tir import write_object
from hqc.targets import load_target


def rows_of_spikes():
    """A sum of listed rows: what LLVM would make vectors of, left to itself."""

    @T.prim_func(s_tir=True)
    def add_rows(
        listed_p: T.handle("uint16"), rows_p: T.handle("uint8"), y_p: T.handle("uint8"), n: T.int32
    ):
        T.func_attr({"tirx.noalias": True})
        listed = T.decl_buffer((ANY,), "uint16", data=listed_p)
        rows = T.decl_buffer((ANY,), "uint8", data=rows_p)
        y = T.decl_buffer((ANY,), "uint8", data=y_p)
        for chunk in range(n):
            for e in T.unroll(4):
                row: T.let = T.Cast("int32", listed[chunk * 4 + e]) * 96
                for v in T.vectorized(32):
                    y[v] = y[v] + rows[row + v]

    return add_rows


@pytest.fixture
def write(tmp_path):
    target = load_target("host").tvm_target()
    target |= {"mtriple": "x86_64-linux-gnu", "mcpu": "x86-64-v4"}

    def write(name):
        write_object({"add_rows": rows_of_spikes()}, target, tmp_path / f"{name}.o")
        return (tmp_path / f"{name}.o").read_bytes()

    return write


def test_what_is_no_vector_stays_as_it_is(write, monkeypatch):
    scalar = write("scalar")
    monkeypatch.setattr(tir, "_LLVM_OPTIONS", ())
    assert write("left_to_itself") != scalar


def test_llvm_works_for_one_at_a_time(write, monkeypatch):
    alone, at_work, most = write("alone"), [], []
    end = tir._object_bytes

    def slowly(built):
        at_work.append(1)
        most.append(len(at_work))
        sleep(0.01)
        at_work.pop()
        return end(built)

    monkeypatch.setattr(tir, "_object_bytes", slowly)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(write, range(16))) == {alone}
    assert most == [1] * 16
