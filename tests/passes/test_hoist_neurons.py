"""hoist-neurons: neurons move before a view that mixes axes; the result stays."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from hqc.pass_verifier import PassVerifier
from hqc.passes import parse_pipeline, run_passes
from tests.small_models import model_from

GRAPH = """
small (float[{before}] x) => (float[{after}] y, float[2, 24] z)
<int64[{rank}] shape = {{{after}}}, int64[2] flat = {{2, 24}}>
{{
    view = Reshape (x, shape)
    spikes = ai.hqc.LIF <tau = 2.0, v_threshold = 1.0, v_reset = 0.0, soft_reset = 0,
                         decay_input = 1> (view)
    y = Neg (spikes)
    z = Reshape (spikes, flat)
}}
"""


def hoisted(before, after, graph=GRAPH):
    model = model_from(graph.format(before=before, after=after, rank=after.count(",") + 1))
    for node in model.graph:
        shape = [2, 24] if node.outputs[0].name == "z" else [int(n) for n in after.split(",")]
        node.outputs[0].shape = ir.Shape(shape)
        node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    shape = model.graph.inputs[0].shape.numpy()
    x = np.random.default_rng(0).normal(1, 2, shape).astype(np.float32)
    steps = parse_pipeline("hoist-neurons")
    return run_passes(model, steps, [PassVerifier(model.clone(), {"x": x})])


@pytest.mark.parametrize(
    ("before", "after"), [("2, 4, 6", "2, 6, 4"), ("2, 4, 6", "2, 1, 6, 4"), ("2, 3, 8", "2, 4, 6")]
)
def test_neurons_move_before_a_view_that_mixes_axes(before, after):
    model = hoisted(before, after)
    (neurons,) = (node for node in model.graph if node.op_type == "LIF")
    sizes = [n for n in neurons.inputs[0].shape.numpy() if n > 1]
    assert sizes == [int(n) for n in before.split(",")]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("2, 24", "2, 4, 6"),
        ("2, 4, 6", "2, 24"),
        ("2, 4, 6", "2, 1, 4, 6"),
        ("2, 2, 3, 4", "2, 6, 2, 2"),
    ],
)
def test_they_stay_behind_others(before, after):
    order = [node.op_type for node in hoisted(before, after).graph]
    assert order == ["Reshape", "LIF", "Neg", "Reshape"]


def test_neurons_that_are_an_output_stay():
    graph = GRAPH.replace("spikes", "y").replace("y = Neg (y)", "")
    order = [node.op_type for node in hoisted("2, 4, 6", "2, 6, 4", graph).graph]
    assert order == ["Reshape", "LIF", "Reshape"]


def test_time_stays_the_first_axis():
    assert [n.op_type for n in hoisted("4, 2, 6", "2, 4, 6").graph][:2] == ["Reshape", "LIF"]
