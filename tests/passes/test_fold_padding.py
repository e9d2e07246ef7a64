"""fold-padding: zeros around an image move into the convolution; nothing else does."""

from __future__ import annotations

import numpy as np
import pytest

from hqc.passes import parse_pipeline, run_passes
from hqc.reference import run_reference
from tests.small_models import model_from

WEIGHTS = ", ".join(str(i) for i in range(1, 19))
GRAPH = """
small (float[1, 2, 4, 5] x) => (float[1, 1, {height}, 5] y)
<int64[{count}] amounts = {{{amounts}}}, float filling = {{{filling}}},
 float[1, 2, 3, 3] weights = {{{weights}}}>
{{
    padded = Pad <mode = "{mode}"> (x, amounts, filling)
    y = Conv <pads = [0, 1, 0, 0]> (padded, weights)
}}
"""


def padded(amounts="0, 0, 1, 0, 0, 0, 1, 1", filling="0", mode="constant", height=4):
    count = amounts.count(",") + 1
    return model_from(
        GRAPH.format(
            amounts=amounts, count=count, filling=filling, weights=WEIGHTS, mode=mode, height=height
        )
    )


def folded(model):
    return run_passes(model, parse_pipeline("fold-padding"))


def test_zeros_become_the_convolutions_padding():
    feeds = {"x": np.arange(40, dtype=np.float32).reshape(1, 2, 4, 5)}
    before = run_reference(padded(), feeds)[0]
    after = folded(padded())
    (conv,) = after.graph
    assert conv.op_type == "Conv"
    assert list(conv.attributes["pads"].value) == [1, 1, 1, 1]
    np.testing.assert_array_equal(run_reference(after, feeds)[0], before)


@pytest.mark.parametrize("change", [{"filling": "1"}, {"mode": "reflect"}])
def test_other_padding_stays(change):
    assert [node.op_type for node in folded(padded(**change)).graph] == ["Pad", "Conv"]
