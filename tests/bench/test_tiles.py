"""Tiles of sums in registers: the same numbers, whatever the sizes are."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from hqc.bench.tvm.network import fused, host, run_here
from hqc.bench.tvm.tiles import Registers, tiled
from hqc.reference import run_reference
from tests.small_models import model_from

REGISTERS = {"32 of 4": Registers(32, 4), "32 of 1": Registers(32, 1), "16 of 8": Registers(16, 8)}

CONVOLUTIONS = {
    "3x3": ([2, 3, 8, 8], [8, 3, 3, 3], [2, 8, 8, 8], "y = Conv <pads = [1, 1, 1, 1]> (x, w)"),
    "of odd lines": ([1, 3, 7, 7], [5, 3, 3, 3], [1, 5, 5, 5], "y = Conv (x, w)"),
    "1x1, and more behind it": (
        *([1, 2, 4, 12], [6, 2, 1, 1], [1, 6, 4, 12]),
        "s = Conv (x, w) r = Relu (s) y = Mul (r, r)",
    ),
    "that skips positions": (
        *([1, 4, 16, 16], [4, 4, 3, 3], [1, 4, 7, 7]),
        "y = Conv <strides = [2, 2]> (x, w)",
    ),
    "of each channel alone": (
        *([1, 4, 8, 8], [4, 1, 3, 3], [1, 4, 6, 6]),
        "y = Conv <group = 4> (x, w)",
    ),
    "with a large window": ([1, 2, 14, 14], [4, 2, 7, 7], [1, 4, 8, 8], "y = Conv (x, w)"),
}
PRODUCTS = {
    "matrices": ([8, 20], [20, 48], [8, 48], "y = MatMul (x, w)"),
    "many matrices": ([3, 5, 6], [3, 6, 8], [3, 5, 8], "y = MatMul (x, w)"),
    "a vector and a matrix": ([1, 20], [20, 10], [1, 10], "y = MatMul (x, w)"),
    "transposed behind": (
        *([8, 20], [20, 16], [16, 8]),
        "s = MatMul (x, w) y = Transpose <perm = [1, 0]> (s)",
    ),
}
NETWORKS = CONVOLUTIONS | PRODUCTS


def network(what: str, rng: np.random.Generator) -> tuple[ir.Model, np.ndarray]:
    """A network of an op with weights, and what goes in."""
    given, weights, result, nodes = NETWORKS[what]
    numbers = ", ".join(f"{w:.4f}" for w in rng.normal(size=np.prod(weights)))
    values = f"(float{given} x) => (float{result} y) <float{weights} w = {{{numbers}}}>"
    model = model_from(f"one {values} {{ {nodes} }}")
    return model, rng.normal(size=given).astype(np.float32)


@pytest.mark.parametrize("registers", REGISTERS)
@pytest.mark.parametrize("what", NETWORKS)
def test_tiles_change_no_sum(what, registers, rng):
    model, x = network(what, rng)
    (wanted,) = run_reference(model, {"x": x})
    found = run_here(model, host(), lambda module: tiled(module, REGISTERS[registers]))(x)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("what", NETWORKS)
def test_all_of_them_have_tiles(what, rng):
    model, _ = network(what, rng)
    module = fused(model, host())
    assert "T.unroll" not in module.script()
    assert "T.unroll" in tiled(module, REGISTERS["32 of 4"]).script()


def test_a_tile_fills_the_registers(rng):
    """Four rows by six vectors are 24 sums; six vectors of inputs and a weight come to them."""
    module = fused(network("matrices", rng)[0], host())
    text = tiled(module, Registers(32, 4)).script()
    for loop in ("unroll(T.int64(4))", "unroll(T.int64(6))", "vectorized(T.int64(4))"):
        assert f"T.{loop}" in text


def test_what_is_no_sum_of_products_stays():
    model = model_from(
        "one (float[1, 2, 4, 4] x) => (float[1, 2, 2, 2] y) {"
        "y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x) }"
    )
    module = fused(model, host())
    assert tiled(module, Registers(32, 4)).script() == module.script()


@pytest.mark.parametrize(
    ("triple", "count", "lanes"),
    [
        ("aarch64-linux-gnu", 32, 4),
        ("arm64-apple-macos", 32, 4),
        ("armv7-linux-gnueabihf", 16, 4),
        ("x86_64-linux-gnu", 16, 4),
        ("riscv64-linux-gnu", 32, 4),
    ],
)
def test_how_many_registers_a_machine_has(triple, count, lanes):
    assert Registers.of(triple, 128) == Registers(count, lanes)
    assert Registers.of(triple, 0) == Registers(count, 1)
