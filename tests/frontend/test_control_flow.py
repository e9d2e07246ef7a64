"""What is written out of loops, branches and sequences gives what onnxruntime makes of these."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from hqc.errors import UserError
from hqc.frontend.control_flow import without_control_flow

HEADER = '<ir_version: 9, opset_import: ["" : 18]> g (float[4,3] x) => (float[n,m] y)'

SCAN = """
Scan <num_scan_inputs = 1, {how} body = step (float[3] v, float[3] row) => (float[3] w, float[3] s)
  {{ half = Constant <value_float = 0.5> ()  kept = Mul (v, half)  w = Add (kept, row)
     s = Sin (w) }}> """

BACKWARDS = "scan_input_directions = [1], scan_output_directions = [1],"

MODELS = {
    "two scans whose bodies have the same names": (
        "<float[3] zero = {0, 0, 0}> {"
        f" last, a = {SCAN.format(how='')} (zero, x)"
        f" end, b = {SCAN.format(how='')} (last, a)"
        " y = Add (a, b) }"
    ),
    "a scan backwards in and out": (
        f"<float[3] zero = {{0, 0, 0}}> {{ last, y = {SCAN.format(how=BACKWARDS)} (zero, x) }}"
    ),
    "a scan of columns": (
        "<float[3] zero = {0, 0, 0}> { turned = Transpose (x)"
        f" last, y = {SCAN.format(how='scan_input_axes = [1], scan_output_axes = [1],')}"
        " (zero, turned) }"
    ),
    "a loop in a loop": (
        "<int64 two = {2}, int64 three = {3}, bool on = {1}> {"
        " y = Loop <body = outer (int64 i, bool c, float[4,3] v) => (bool d, float[4,3] w) {"
        "   d = Identity (c)"
        "   w = Loop <body = inner (int64 j, bool e, float[4,3] u) => (bool f, float[4,3] t) {"
        "     f = Identity (e)  k = Add (i, j)  z = Cast <to = 1> (k)  q = Add (u, z)"
        "     t = Sin (q) }> (three, c, v) }> (two, on, x) }"
    ),
    "rows that a loop collects in a sequence": (
        "<bool on = {1}, int64 zero = {0}> {"
        " shape = Shape (x)  steps = Gather (shape, zero)  none = SequenceEmpty <dtype = 1> ()"
        " rows = Loop <body = step (int64 i, bool c, seq(float[3]) s)"
        " => (bool d, seq(float[3]) t) {"
        "   d = Identity (c)  row = Gather (x, i)  r = Sin (row)  t = SequenceInsert (s, r)"
        " }> (steps, on, none)"
        " y = ConcatFromSequence <axis = 0, new_axis = 1> (rows) }"
    ),
    "a sequence that is split, counted and read": (
        "<int64 at = {-1}> { rows = SplitToSequence <axis = 0, keepdims = 1> (x)"
        " count = SequenceLength (rows)  last = SequenceAt (rows, at)  n = Cast <to = 1> (count)"
        " y = Mul (last, n) }"
    ),
    "a branch that is taken, by a shape": (
        "<int64 zero = {0}, int64 four = {4}> {"
        " shape = Shape (x)  steps = Gather (shape, zero)  is = Equal (steps, four)"
        " y = If <then_branch = yes () => (float[4,3] a) { a = Sin (x) },"
        " else_branch = no () => (float[4,3] b) { b = Neg (x) }> (is) }"
    ),
    "shapes that are computed": (
        "<int64[1] rest = {-1}, int64[1] two = {2}> { shape = Shape <end = 1> (x)"
        " half = Div (shape, two)  to = Concat <axis = 0> (half, rest)  y = Reshape (x, to) }"
    ),
}

REFUSED = {
    "a branch by data": (
        "<float zero = {0}> { sum = ReduceSum <keepdims = 0> (x)  is = Greater (sum, zero)"
        " y = If <then_branch = yes () => (float[4,3] a) { a = Sin (x) },"
        " else_branch = no () => (float[4,3] b) { b = Neg (x) }> (is) }",
        "(If): which branch it takes is not known before",
    ),
    "a loop until something happens": (
        "<int64 many = {9}, bool on = {1}, float limit = {3}> {"
        " y = Loop <body = step (int64 i, bool c, float[4,3] v) => (bool d, float[4,3] w) {"
        "   w = Sin (v)  sum = ReduceSum <keepdims = 0> (w)  d = Less (sum, limit) }>"
        " (many, on, x) }",
        "(Loop): how often it runs is not known before",
    ),
    "a loop without an end": (
        "<int64 many = {9223372036854775807}, bool on = {1}> {"
        " y = Loop <body = step (int64 i, bool c, float[4,3] v) => (bool d, float[4,3] w) {"
        "   d = Identity (c)  w = Sin (v) }> (many, on, x) }",
        "(Loop): it runs 9223372036854775807 times",
    ),
}


def parsed(text):
    proto = onnx.parser.parse_model(f"{HEADER} {text}")
    onnx.checker.check_model(proto)
    return proto


def result(proto, x):
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("name", MODELS)
def test_the_numbers_stay(name):
    x = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    proto = parsed(MODELS[name])
    expected = result(proto, x)
    written = without_control_flow(Path("model.onnx"), proto)
    for node in written.graph.node:
        node.name = ""  # copies have one name until nodes are numbered
    onnx.checker.check_model(written, full_check=True)
    ops = {node.op_type for node in written.graph.node}
    assert not ops & {"Scan", "Loop", "If", "Shape"}
    assert not any(op.startswith("Sequence") or op.endswith("Sequence") for op in ops)
    np.testing.assert_array_equal(result(written, x), expected)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known_before_is_refused(name):
    text, why = REFUSED[name]
    with pytest.raises(UserError) as caught:
        without_control_flow(Path("model.onnx"), parsed(text))
    assert why in caught.value.message
    assert caught.value.hint
