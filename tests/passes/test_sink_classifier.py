"""sink-classifier: classes at every step, then their mean, become classes of the mean."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from hqc.pass_verifier import PassVerifier
from hqc.passes import parse_pipeline, run_passes
from tests.small_models import model_from

WEIGHTS = ", ".join(str(i) for i in range(-3, 3))
GRAPH = """
small (float[4, 1, 3] x) => (float[{shape}] y)
<float[3, 2] weights = {{{weights}}}, float[2] bias = {{5, -7}}, int64[1] axes = {{{axis}}}>
{{
    product = MatMul (x, weights)
    classes = {last}
    y = ReduceMean <keepdims = 0> (classes, axes)
}}
"""


def sunk(last="Add(product, bias)", axis=0, shape="1, 2"):
    model = model_from(GRAPH.format(weights=WEIGHTS, last=last, axis=axis, shape=shape))
    proto = onnx.shape_inference.infer_shapes(ir.serde.serialize_model(model))
    model = ir.serde.deserialize_model(proto)
    x = np.random.default_rng(0).normal(size=(4, 1, 3)).astype(np.float32)
    steps = parse_pipeline("sink-classifier")
    return run_passes(model, steps, [PassVerifier(model.clone(), {"x": x})])


def test_the_mean_comes_first():
    assert [node.op_type for node in sunk().graph] == ["ReduceMean", "Gemm"]


@pytest.mark.parametrize(
    "change",
    [{"last": "Relu(product)"}, {"axis": 2, "shape": "4, 1"}, {"axis": 1, "shape": "4, 2"}],
)
def test_another_mean_stays(change):
    assert [node.op_type for node in sunk(**change).graph][-1] == "ReduceMean"
