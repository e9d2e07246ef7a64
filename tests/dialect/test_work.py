"""Multiply-accumulates of kernels, against what their layers' shapes say."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from hqc.dialect import find_op
from hqc.dialect.op import KERNEL


def node(op_type, shapes, out, domain=KERNEL, **attributes):
    values = [ir.Value(name=f"x{i}", shape=ir.Shape(s)) for i, s in enumerate(shapes)]
    made = ir.node(op_type, values, attributes, domain=domain)
    made.outputs[0].shape = ir.Shape(out)
    return made


@pytest.mark.parametrize(
    ("op_type", "shapes", "out", "attributes", "work"),
    [
        # 6 outputs of 5 channels and 3 x 3 pixels, at 4 time steps and 7 x 2 positions.
        ("SpikeConv", [(4, 9, 4, 1, 1), (6, 5, 3, 3)], (4, 7, 2, 1, 1), {}, 6 * 5 * 9 * 4 * 14),
        ("DepthwiseConv", [(4, 9, 4, 32), (6, 1, 3, 3)], (4, 7, 2, 32), {}, 6 * 9 * 4 * 14),
        # 3 heads of [12, 40] times [40, 10].
        (
            "MultiplySpikes",
            [(2, 3, 12, 1, 2), (2, 3, 10, 1, 2)],
            (2, 3, 12, 32),
            {"channels": 40, "columns": 10},
            2 * 3 * 12 * 10 * 40,
        ),
        # K^T V of 3 heads is [8, 12] times [12, 8], and Q times that as much.
        (
            "PackedAttention",
            [(2, 3, 4, 1, 1)] * 3,
            (2, 3, 4, 1, 1),
            {"channels": 24, "heads": 3},
            2 * 3 * 2 * (8 * 12 * 8),
        ),
        ("ReluPotentials", [(2, 3, 4, 32)], (2, 3, 4, 32), {}, 0),
    ],
)
def test_multiply_accumulates(op_type, shapes, out, attributes, work):
    made = node(op_type, shapes, out, **attributes)
    assert find_op(made).work(made) == work


def test_a_classifier_multiplies_every_row():
    made = node("IntegerLinear", [(4, 20), (20, 7)], (4, 7), domain="ai.hqc")
    assert find_op(made).work(made) == np.prod([4, 20, 7])
