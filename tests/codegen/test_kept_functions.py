"""A process builds the function of a key once, and a key says all that its function depends on."""

from __future__ import annotations

from collections import Counter

import numpy as np
from tvm.ir import assert_structural_equal

from hqc.codegen import kept_functions
from hqc.codegen.kept_functions import function_of
from hqc.codegen.kernels import KernelCall, find_kernel
from hqc.codegen.kernels.kernel_base import _KERNELS as KERNELS
from tests.codegen.test_kept_objects import stores
from tests.conformance.test_kernels import CASES, OPS
from tests.small_models import model_of


def call_of(case, vector):
    op_type, inputs, attributes, constant_from = case
    op = OPS[op_type]
    expected = op.reference(*inputs, **attributes)
    node = model_of(op, inputs, attributes, expected, constant_from).graph[0]
    return find_kernel(node)(node, vector)


def moved(rng, numbers):
    """The numbers in another order; those of each output channel remain its own."""
    if numbers.ndim == 2:  # of a classifier: [inputs, classes]
        return rng.permuted(numbers, axis=0)
    if numbers.ndim == 4:
        return rng.permuted(numbers.reshape(len(numbers), -1), axis=1).reshape(numbers.shape)
    return rng.permutation(numbers)


def others(case):
    """The case with its constants in another order and of fewer time steps; else with either."""
    op_type, inputs, attributes, constant_from = case
    rng = np.random.default_rng(5)
    first = len(inputs) if constant_from is None else constant_from
    frames, constants = inputs[:first], inputs[first:]
    fewer = [x if "sizes" in attributes else x[:2] for x in frames]
    reordered = [moved(rng, c) for c in constants]
    for given in ([*fewer, *reordered], [*frames, *reordered], [*fewer, *constants]):
        yield op_type, given, attributes, constant_from


def test_equal_keys_have_equal_functions():
    """Of every third case of each kernel, with vectors and without by turns."""
    seen, met = Counter(), set()
    for case in CASES:
        seen[case[0]] += 1
        if seen[case[0]] % 3 != 1:
            continue
        call = call_of(case, seen[case[0]] % 2 == 1)
        again = (call_of(other, seen[case[0]] % 2 == 1) for other in others(case))
        same = next((other for other in again if other.key == call.key), None)
        if same is not None:
            assert same.rows == call.rows
            assert_structural_equal(same.build(), call.build())
            met.add(case[0])
    assert met == set(KERNELS)


def calls(built, *keys):
    """A call for each key, and whom to tell when its function is built."""

    def build(key):
        built.append(key)
        return stores(key)

    return [KernelCall(lambda key=key: build(key), (), (key,)) for key in keys]


def test_functions_of_equal_keys_are_built_once(nothing_kept):
    built = []
    first, same, other = (function_of(call, True) for call in calls(built, 1, 1, 2))
    assert first.same_as(same)
    assert not first.same_as(other)
    assert built == [1, 2]


def test_the_function_of_all_rows_is_another(nothing_kept):
    call = next(call_of(c, True) for c in CASES if c[0] == "SpikeConv")
    whole, shared = function_of(call, True), function_of(call, False)
    assert len(shared.params) == len(whole.params) + 2
    assert function_of(call, True).same_as(whole)


def test_machines_without_vectors_have_functions_of_their_own(nothing_kept):
    case = next(c for c in CASES if c[0] == "AddPotentials")
    assert call_of(case, True).key != call_of(case, False).key


def test_so_many_are_kept(nothing_kept, monkeypatch):
    monkeypatch.setattr(kept_functions, "_MOST_KEPT", 2)
    built = []
    for call in calls(built, 1, 2, 3, 3, 2, 1):
        function_of(call, True)
    assert built == [1, 2, 3, 1]
    assert len(kept_functions._kept) == 2
