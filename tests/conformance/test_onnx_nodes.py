"""A few of onnx's own tests of ops; `python -m tests.conformance.onnx_nodes` runs all."""

from __future__ import annotations

import pytest

from tests.conformance.onnx_nodes import cases, outcome
from tests.conftest import needs_compiler

RIGHT = [
    "test_add",
    "test_averagepool_2d_strides",
    "test_clip_example",
    "test_compress_1",
    "test_concat_3d_axis_negative_2",
    "test_conv_with_strides_and_asymmetric_padding",
    "test_convtranspose_group_2_image_3",
    "test_maxpool_2d_ceil",
    "test_reduce_sum_negative_axes_keepdims_random",
    "test_reshape_reordered_all_dims",
    "test_slice_neg_steps",
    "test_transpose_all_permutations_3",
]

REFUSED = {
    "test_resize_downsample_scales_linear_align_corners": "hqc has no integer lowering for Resize",
    "test_exp": "hqc has no integer lowering for Exp",
    "test_maxpool_2d_dilations": "dilations are [2, 2]",
}


@pytest.fixture(scope="module")
def of_onnx():
    return {case.name: case for case in cases()}


@needs_compiler
@pytest.mark.parametrize("name", RIGHT)
def test_it_is_right(name, of_onnx, tmp_path):
    assert outcome(of_onnx[name], tmp_path) == "right"


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(name, of_onnx, tmp_path):
    assert REFUSED[name] in outcome(of_onnx[name], tmp_path)
