"""float32 of an integer times a scale, by integers, against numpy's."""

from __future__ import annotations

import ctypes
import subprocess

import numpy as np
import pytest
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import ANY
from hqc.codegen.kernels.rounding import scaled
from hqc.codegen.tir import write_object
from hqc.targets import load_target


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    @T.prim_func(s_tir=True)
    def all_products(
        x_p: T.handle("int64"), s_p: T.handle("uint32"), y_p: T.handle("uint32"), count: T.int32
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "int64", data=x_p)
        s = T.decl_buffer((ANY,), "uint32", data=s_p)
        y = T.decl_buffer((ANY,), "uint32", data=y_p)
        for n in range(count):
            one = T.alloc_buffer((1,), "int64")
            one[0] = x[n]
            scaled(one, s, n, y, n)

    folder = tmp_path_factory.mktemp("products")
    target = load_target("host").tvm_target()
    write_object({"all_products": all_products}, target, folder / "k.o")
    subprocess.run(["cc", "-shared", "k.o", "-o", "k.so"], cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "k.so"))

    def run(x, scale):
        y = np.empty(x.size, np.uint32)
        pointers = (a.ctypes.data_as(ctypes.c_void_p) for a in (x, scale, y))
        library.all_products(*pointers, ctypes.c_int32(x.size))
        return y

    return run


def expected(x, scale):
    with np.errstate(over="ignore", under="ignore"):
        return (x.astype(np.float32) * scale.view(np.float32)).view(np.uint32)


EDGES = np.array(
    [sign * (2**p + d) for p in (0, 1, 23, 24, 25, 31, 40, 61) for d in range(-3, 4)
     for sign in (1, -1)]
    + [0, 2**63 - 1, -(2**63), 2**24 + 2**23 + 1, 3 << 24, (1 << 25) - 1],
    np.int64,
)  # fmt: skip


def test_equals_numpy_on_random_integers_and_scales(products, rng):
    size = 2_000_000
    x = rng.integers(-(2**63), 2**63, size) >> rng.integers(0, 64, size)
    scale = rng.integers(0, 2**32, size, dtype=np.uint32)
    scale[(scale >> 23) & 255 == 255] &= 0xFF7FFFFF  # finite
    np.testing.assert_array_equal(products(x, scale), expected(x, scale))


def test_equals_numpy_at_the_edges(products):
    exponents = np.arange(255, dtype=np.uint32) << 23
    fractions = np.array([0, 1, 2, 0x400000, 0x3FFFFF, 0x7FFFFE, 0x7FFFFF], np.uint32)
    scales = np.unique((exponents[:, None] | fractions).reshape(-1))
    scales = np.concatenate([scales, scales | np.uint32(1 << 31)])
    x, scale = (a.reshape(-1).copy() for a in np.meshgrid(EDGES, scales))
    np.testing.assert_array_equal(products(x, scale), expected(x, scale))


def test_ties_where_the_product_is_subnormal(products):
    x = np.arange(-4096, 4096, dtype=np.int64)
    for bits in (0x00000001, 0x00000003, 0x00400000, 0x33800000, 0x34000001, 0x00800000):
        scale = np.full(x.size, bits, np.uint32)
        np.testing.assert_array_equal(products(x, scale), expected(x, scale))
