"""Networks whose numbers do not lie as a kernel reads them: they are moved, and come out right."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.compiled import compiles_to_what_its_floats_say
from tests.refusals.case import C, D, H, Small, T, W
from tests.refusals.cases.arithmetic import norm
from tests.refusals.cases.attention import parts, turned
from tests.refusals.cases.layers import leaving, sums

LAYOUTS = []
L = H * W
"""Tokens of an image."""


def layout(function):
    """Register a function that writes a network."""
    LAYOUTS.append(function)
    return function


def sliced(net: Small, start: int, end: int, axis: int, step: int = 1) -> str:
    """A part of spikes."""
    bounds = [net.constant([i], np.int64) for i in (start, end, axis, step)]
    return net.op("Slice", net.spikes(), *bounds, name="part")


@layout
def a_view_that_mixes_axes(net):
    y = net.view(net.spikes(), (T, H, D, W), name="mix")
    y = net.view(net.conv(y, (H, 7)), (T, D, W, 7))
    net.end(net.lif(y, v_threshold=0.2))


@layout
def frames_whose_axes_a_view_mixes(net):
    net.end(net.lif(net.conv(net.view(net.image(), (T, W, C, H)), (W, D)), v_threshold=2.0))


@layout
def norms_whose_axes_a_view_mixes(net):
    y = net.view(norm(net, net.conv(net.spikes())), (T, 4, D * H * W // 8, 2))
    net.end(net.lif(y, v_threshold=0.2), channels=4)


def columns_of_rows(net: Small) -> str:
    """Spikes [T, D, 1, W]."""
    return net.op("MaxPool", net.spikes(), kernel_shape=[H, 1], strides=[H, 1])


@layout
def factors_that_repeat_what_they_multiply(net):
    rows = net.constant(np.linspace(0.2, 2, H).reshape(H, 1))
    net.end(net.lif(net.op("Mul", columns_of_rows(net), rows, name="m"), v_threshold=0.3))


@layout
def factors_of_more_axes_than_what_they_multiply(net):
    factors = net.constant(np.linspace(0.5, 2, D).reshape(1, 1, D, 1, 1))
    y = net.op("Mul", net.conv(net.spikes()), factors, name="m")
    net.end(net.lif(net.view(y, (T, D, H, W)), v_threshold=0.3))


@layout
def terms_that_repeat_what_they_are_added_to(net):
    rows = net.constant(np.linspace(-0.5, 1, H).reshape(H, 1))
    net.end(net.lif(net.op("Sub", rows, columns_of_rows(net), name="m"), v_threshold=0.3))


@layout
def constants_that_repeat_one_channel(net):
    largest = net.op("ReduceMax", net.conv(net.spikes()), net.constant([1], np.int64))
    y = net.op("Mul", largest, net.constant(np.linspace(0.2, 2, D * W).reshape(D, 1, W)), name="m")
    net.end(net.lif(y, v_threshold=0.1))


@layout
def a_factor_for_each_column(net):
    net.end(net.lif(net.op("Mul", net.conv(net.spikes()), net.constant([1, 2, 3, 4, 5]), name="m")))


@layout
def a_norm_of_rows(net):
    y = net.op("Transpose", net.conv(net.spikes()), perm=[0, 2, 1, 3])
    y = net.op("Transpose", norm(net, y, channels=H), perm=[0, 2, 1, 3])
    net.end(net.lif(y))


@layout
def a_product_of_spikes_each_repeated_along_an_axis(net):
    """Of a column for each row."""
    s = net.spikes()
    pooled = (
        net.op("MaxPool", s, kernel_shape=window, strides=window) for window in ([H, 1], [1, W])
    )
    net.end(net.op("Mul", *pooled, name="gate"))


@layout
def a_product_of_two_layouts(net):
    net.frames = (T, 1, 3, 4, 4)
    s = net.spikes()
    net.end(net.op("Mul", s, net.op("Transpose", s, perm=[0, 1, 3, 2]), name="gate"))


@layout
def a_mask_of_channels_along_tokens(net):
    """There are as many tokens as channels."""
    net.frames = (T, 1, 3, 2, 3)
    mask = net.op("MaxPool", net.spikes(name="other"), kernel_shape=[2, 3])
    gated = net.op("Mul", net.tokens(), net.view(mask, (T, 1, D, 1)), name="gate")
    net.end_of_tokens(gated)


@layout
def a_mask_of_a_part_of_the_rows(net):
    s = net.view(net.spikes(), (T, D, H // 2, 2, W))
    mask = net.lif(net.mean(s, [3, 4], keepdims=1), v_threshold=0.3, name="mask")
    net.end(net.op("Mul", s, mask, name="gate"), (0, 2, 3, 4))


@layout
def a_sum_of_two_shapes(net):
    s = net.spikes()
    pooled = net.op("MaxPool", s, kernel_shape=[H, W])
    net.end(net.lif(net.op("Add", s, pooled, name="add")))


@layout
def a_sum_of_two_layouts(net):
    """Rows and columns change places."""
    net.frames = (T, 1, 3, 4, 4)
    s = net.spikes()
    net.end(net.lif(net.op("Add", s, net.op("Transpose", s, perm=[0, 1, 3, 2]), name="add")))


@layout
def pooling_of_flattened_images(net):
    y = net.view(net.spikes(), (T, D, L))
    net.end(net.op("MaxPool", y, kernel_shape=[2], name="pool"), (0, 2))


@layout
def pooling_of_tokens(net):
    x = net.op("MaxPool", net.tokens(), kernel_shape=[2, 1], name="pool")
    net.end_of_tokens(x)


@layout
def the_greatest_of_potentials_whose_rows_are_columns(net):
    y = net.op("Transpose", net.conv(net.spikes()), perm=[0, 1, 3, 2])
    net.end(net.lif(net.op("MaxPool", y, kernel_shape=[2, 2], name="pool")))


@layout
def attention_between_rows(net):
    """Along the columns of images, one of them each channel's."""
    q, k, v = (net.spikes(name=name) for name in "qkv")
    rows = [net.view(x, (T, D, 1, H, W)) for x in (q, k, v)]
    scores = net.op("MatMul", rows[0], net.op("Transpose", rows[1], perm=[0, 1, 2, 4, 3]), name="s")
    y = net.view(net.op("MatMul", scores, rows[2], name="product"), (T, D, H, W))
    net.end(net.lif(y, name="attention"))


@layout
def attention_whose_values_are_turned(net):
    """There are as many tokens as channels."""
    net.frames = (T, 1, C, 2, 3)
    q, k, v = (net.tokens(name) for name in "qkv")
    scores = net.op("MatMul", q, turned(net, k), name="scores")
    net.end_of_tokens(net.lif(net.op("MatMul", scores, turned(net, v), name="product")))


@layout
def attention_of_neurons_on_flattened_images(net):
    made = []
    for name in "qkv":
        flat = net.lif(net.view(net.spikes(name=name), (T, 1, D * L)), v_threshold=0.3)
        made.append(net.view(flat, (T, 1, D, L)))
    scores = net.op("MatMul", turned(net, made[0]), made[1], name="scores")
    net.end_of_tokens(net.lif(net.op("MatMul", scores, turned(net, made[2]), name="product")))


@layout
def a_convolution_of_one_by_one_along_rows(net):
    net.frames = (T, 1, C, 4, 4)
    y = net.op("Transpose", net.spikes(4), perm=[0, 2, 1, 3])
    net.end(net.lif(net.conv(y, (4, D))))


@layout
def a_convolution_of_channels_in_another_place(net):
    net.frames = (T, 1, C, 4, 4)
    y = net.op("Transpose", net.spikes(4), perm=[0, 2, 1, 3])
    net.end(net.lif(net.op("Conv", y, net.weights(D, 4, 3, 3), pads=[1] * 4, name="conv")))


@layout
def a_linear_layer_along_positions(net):
    x = net.view(net.spikes(), (T, 1, D, L))
    net.end(net.lif(net.op("MatMul", x, net.weights(L, D), name="mix")), (0, 1, 2))


@layout
def every_other_channel(net):
    net.end(sliced(net, 0, D, 1, 2), channels=D // 2)


@layout
def a_part_of_the_rows(net):
    net.end(sliced(net, 1, H, 2))


@layout
def two_layouts_that_are_joined(net):
    net.frames = (T, 1, C, 4, 4)
    turned = net.op("Transpose", net.spikes(name="other"), perm=[0, 1, 3, 2])
    net.end(net.op("Concat", net.spikes(), turned, axis=1, name="join"), channels=2 * D)


@layout
def rows_that_are_joined_of_one_channel(net):
    first, last = (net.quantized(np.ones((*shape, 1, 1))) for shape in ((1, C), (D, 1)))
    s = net.lif(net.op("Conv", net.image(), first, name="stem"), v_threshold=150.0)
    pair = (net.op("MaxPool", s, kernel_shape=[H, 1], name=name) for name in ("one", "other"))
    joined = net.op("Concat", *pair, axis=2, name="join")
    net.end(net.lif(net.op("Conv", joined, last, name="conv"), v_threshold=0.3))


@layout
def an_image_that_leaves_the_network(net):
    return leaving(net, net.spikes(), T, D, H, W)


@layout
def a_classifier_of_channels_that_lie_along_positions(net):
    """Each is a product of two images."""
    q, k = (
        net.view(net.spikes(name=name), (T, D, *shape))
        for name, shape in (("q", (1, L)), ("k", (L, 1)))
    )
    products = net.view(net.op("MatMul", q, k, name="product"), (T, 1, D))
    net.end(net.lif(products, v_threshold=4.0), (0, 1))


@layout
def a_classifier_of_a_mean_that_is_repeated(net):
    y = net.mean(net.spikes(), [3], keepdims=1, name="mean")
    net.end(net.op("Expand", y, net.constant((T, D, H, W), np.int64), name="repeated"))


@layout
def neurons_on_a_mean_of_rows(net):
    y = net.mean(net.spikes(), [3], keepdims=1, name="mean")
    net.end(net.lif(y, v_threshold=0.3))


@layout
def a_linear_layer_of_a_mean_of_columns_at_all_steps(net):
    """Time and rows are one axis."""
    y = net.op("Transpose", net.mean(net.spikes(), [3], name="mean"), perm=[0, 2, 1])
    y = net.op("MatMul", net.view(y, (T * H, D)), net.weights(D, D), name="fc")
    net.end(net.lif(net.view(y, (T, H, D))), (0, 1))


@layout
def a_mean_of_some_columns_at_all_steps(net):
    """Time and rows are one axis."""
    net.frames = (T, 1, C, H, 6)
    x = net.view(net.op("Transpose", net.spikes(), perm=[0, 2, 3, 1]), (T * H, 2, 3, D))
    y = net.view(net.mean(x, [2], name="mean"), (T, H * 2, D))
    net.end(net.lif(y, v_threshold=0.3), (0, 1))


@layout
def a_convolution_of_a_mean_of_rows(net):
    y = net.mean(net.spikes(), [3], keepdims=1, name="mean")
    net.end(net.lif(net.conv(y)))


@layout
def a_shortcut_around_a_layer_of_a_mean_of_rows(net):
    """Columns are channels, too, until the mean of them is taken."""
    y = net.mean(net.spikes(), [2], keepdims=1, name="mean")
    x = net.op("Transpose", net.lif(y, v_threshold=0.3), perm=[0, 2, 3, 1])
    x = net.op("MatMul", x, net.weights(D, D), name="fc")
    y = net.op("Add", y, net.op("Transpose", x, perm=[0, 3, 1, 2]), name="add")
    net.end(net.lif(net.mean(y, [2, 3], keepdims=1, name="other")))


@layout
def a_sum_of_potentials_with_what_was_joined_of_two_layouts(net):
    """What is joined has the last axis as channels; the sum is by channel of the other."""
    net.frames = (T, 1, C, 4, 4)
    columns = net.op("Transpose", net.conv(net.spikes(), (D, 4)), perm=[0, 3, 2, 1])
    joined = net.op("Concat", net.conv(net.spikes(), (D, 2)), columns, axis=1, name="join")
    y = net.op("Add", joined, net.conv(net.spikes()), name="add")
    net.end(net.lif(net.op("MaxPool", y, kernel_shape=[2, 2], name="pool")))


@layout
def a_volume_that_is_padded(net):
    """An image in five axes, padded unevenly."""
    x = net.view(net.conv(net.spikes()), (T, 1, D, H, W))
    pads = net.constant([0, 0, 0, 1, 1, 0, 0, 0, 0, 1], np.int64)
    net.end(net.lif(net.view(net.op("Pad", x, pads), (T, D, H + 1, W + 2)), v_threshold=0.3))


@layout
def rows_backwards(net):
    net.end(net.lif(net.conv(sliced(net, H, -H - 1, 2, -1))))


@layout
def every_second_row_from_the_end(net):
    net.end(net.lif(net.conv(sliced(net, -1, 0, 2, -2))))


@layout
def a_mean_over_channels_and_rows(net):
    y = net.mean(net.spikes(), [1, 2], keepdims=1, name="mean")
    net.end(net.lif(net.conv(y, (1, D)), v_threshold=0.05))


@layout
def scores_that_neurons_read(net):
    q, k, v = parts(net)
    scores = net.lif(net.op("MatMul", q, turned(net, k), name="scores"), name="lif")
    net.end_of_tokens(net.lif(net.op("MatMul", scores, v, name="product")))


@layout
def attention_to_fewer_tokens(net):
    """Keys and values are of every other row."""
    q, k, v = parts(net, k=2, v=2)
    scores = net.op("MatMul", q, turned(net, k), name="scores")
    net.end_of_tokens(net.lif(net.op("MatMul", scores, v, name="product")))


@layout
def a_product_of_spikes_that_a_constant_was_added_to(net):
    k = net.op("Add", net.tokens("k"), net.constant(1.0))
    y = net.op("MatMul", net.tokens("q"), net.op("Transpose", k, perm=[0, 1, 3, 2]), name="qk")
    net.end(net.lif(y), (0, 1, 2), H * W)


@layout
def a_product_of_spikes_and_sums(net):
    y = net.op("MatMul", net.tokens(), net.op("Transpose", sums(net), perm=[0, 1, 3, 2]), name="qk")
    net.end(net.lif(y), (0, 1, 2), H * W)


@layout
def a_product_whose_sums_leave_32_bits(net):
    net.frames = (1, 1, C, 8, 8)
    x = net.spikes(33)
    for _ in range(7):
        x = net.op("Add", x, x)
    q = net.op("Transpose", net.view(x, (1, 1, 33, 64)), perm=[0, 1, 3, 2])
    scores = net.op("MatMul", q, net.view(x, (1, 1, 33, 64)), name="scores")
    y = net.op("MatMul", scores, q, name="attention")
    net.end(net.lif(y), (0, 1, 2), 33)


@layout
def a_shortcut_around_attention(net):
    q, k, v = (net.tokens(name) for name in "qkv")
    scores = net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 3, 2]), name="scores")
    y = net.op("MatMul", scores, v, name="product")
    net.end_of_tokens(net.lif(net.op("Add", y, v, name="add")))


@pytest.mark.parametrize("write", LAYOUTS, ids=lambda f: f.__name__)
def test_it_compiles_to_what_its_floats_say(write, tmp_path):
    compiles_to_what_its_floats_say(write, tmp_path)
