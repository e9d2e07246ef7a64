"""Many spellings of one thing: each compiles to what its floats say, by the verdict."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import hqc
from hqc.dialect import DIALECT
from hqc.frontend.load import load_model
from hqc.reference import run_reference
from tests.passes.compiled import compiles_to_what_its_floats_say
from tests.refusals.case import C, D, H, Small, T, W
from tests.refusals.cases.attention import heads, parts, turned
from tests.refusals.cases.layers import gemm, leaving, sums

SPELLINGS = []


def spelling(function):
    """Register a function that writes a network."""
    SPELLINGS.append(function)
    return function


def fires(net: Small, x: str, **attributes) -> str:
    """Neurons that are quick to fire."""
    return net.lif(x, v_threshold=0.2, **attributes)


def tokens(net: Small, x: str) -> str:
    """An image [T, D, H, W] as [T, D, H * W]."""
    return net.view(x, (T, D, H * W))


@spelling
def a_dilated_convolution(net):
    codes = net.weights(D, D, 2, 2)
    net.end(fires(net, net.op("Conv", net.spikes(), codes, dilations=[2, 2], name="conv")))


@spelling
def a_dilated_depthwise_convolution_of_powers_of_two(net):
    weights = np.random.default_rng(0).normal(size=(D, 1, 3, 2))
    inputs = net.constant(weights), net.constant(np.linspace(1, 2, D))
    codes = net.op("QuantPow2", *inputs, domain=DIALECT, bits=4)
    places = {"dilations": [1, 2], "pads": [1, 1, 1, 1], "group": D, "strides": [1, 2]}
    net.end(fires(net, net.op("Conv", net.spikes(), codes, name="conv", **places)))


@spelling
def a_convolution_of_two_groups(net):
    codes = net.weights(2 * D, D // 2, 3, 3)
    y = net.op("Conv", net.spikes(), codes, group=2, pads=[1] * 4, name="conv")
    net.end(fires(net, y), channels=2 * D)


@spelling
def a_depthwise_convolution_of_frames(net):
    codes = net.weights(C, 1, 3, 3)
    y = net.op("Conv", net.image(), codes, group=C, name="conv")
    net.end(net.lif(y, v_threshold=3.0), channels=C)


@spelling
def a_convolution_of_tokens(net):
    y = net.op("Conv", tokens(net, net.spikes()), net.weights(D, D, 1), name="conv")
    net.end(fires(net, net.view(y, (T, D, H, W))))


@spelling
def a_convolution_of_tokens_left_in_float32(net):
    weights = net.constant(np.random.default_rng(1).normal(size=(D, D, 1)))
    y = net.op("Conv", tokens(net, net.spikes()), weights, name="conv")
    net.end(fires(net, y), (0, 2))


@spelling
def convolutions_along_lines(net):
    net.frames = (T, 1, C, 9)
    line = net.op("QuantUniform", "frames", net.constant(1.0), domain=DIALECT, bits=8, signed=0)
    y = net.op("Conv", net.view(line, (T, C, 9)), net.weights(D, C, 3), pads=[1, 1], name="first")
    s = net.op("MaxPool", net.lif(y, v_threshold=3.0), kernel_shape=[2], strides=[2], ceil_mode=1)
    y = net.op("Conv", s, net.weights(D, D, 2), dilations=[2], pads=[2, 0], name="second")
    net.end(fires(net, y), (0, 2))


@spelling
def windows_that_reach_beyond(net):
    s = net.op("MaxPool", net.spikes(), kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    net.end(s)


@spelling
def a_mean_of_windows(net):
    attributes = {"kernel_shape": [3, 2], "strides": [1, 2], "name": "pool"}
    y = net.op("AveragePool", net.spikes(), pads=[1, 0, 1, 1], count_include_pad=1, **attributes)
    net.end(fires(net, net.conv(y)))


@spelling
def a_mean_of_windows_before_neurons(net):
    net.end(fires(net, net.op("AveragePool", net.conv(net.spikes()), kernel_shape=[2, 2])))


@spelling
def a_mean_of_windows_before_the_classifier(net):
    net.end(net.op("AveragePool", net.spikes(), kernel_shape=[2, 2], strides=[2, 2]))


def pool_of_a_norm(net: Small, x: str, rectified: bool, sign_first: bool) -> str:
    """A sum of windows as exporters write a pool of a norm of 1: signs, magnitudes and powers."""
    one = net.constant(1.0)
    mean = net.op("AveragePool", net.op("Pow", x, one), kernel_shape=[2, 2], strides=[2, 2])
    sign = net.op("Sign", mean) if sign_first else ""
    size = net.op("Abs", mean)
    sign = sign or net.op("Sign", mean)
    size = net.op("Relu", size) if rectified else size
    return net.op("Pow", net.op("Mul", net.op("Mul", sign, size), net.constant(4.0)), one)


@spelling
def a_pool_of_a_norm_of_one(net):
    net.end(fires(net, net.conv(pool_of_a_norm(net, net.spikes(), True, True))))


@spelling
def a_pool_of_a_norm_of_one_of_potentials(net):
    net.end(fires(net, pool_of_a_norm(net, net.conv(net.spikes()), False, False)))


@spelling
def a_pool_of_all_positions(net):
    net.end(fires(net, net.op("GlobalAveragePool", net.conv(net.spikes()))))


@spelling
def the_largest_of_all_positions(net):
    net.end(fires(net, net.op("GlobalMaxPool", net.conv(net.spikes()))))


@spelling
def a_mean_of_windows_that_leaves_padding_out(net):
    attributes = {"kernel_shape": [3, 2], "pads": [1, 1, 2, 0], "strides": [2, 1], "name": "pool"}
    net.end(fires(net, net.op("AveragePool", net.spikes(), **attributes)))


@spelling
def a_mean_of_windows_that_end_behind_the_image(net):
    attributes = {"kernel_shape": [3, 3], "pads": [0, 1, 0, 0], "strides": [2, 2], "name": "pool"}
    y = net.op(
        "AveragePool", net.conv(net.spikes()), ceil_mode=1, count_include_pad=1, **attributes
    )
    net.end(fires(net, y))


@spelling
def the_largest_of_channels(net):
    y = net.op("ReduceMax", net.spikes(), net.constant([1], np.int64), name="largest")
    net.end(fires(net, net.conv(y, (1, D))))


@spelling
def the_least_of_columns_of_potentials(net):
    y = net.op("ReduceMin", net.conv(net.spikes()), net.constant([-2], np.int64), keepdims=0)
    net.end(fires(net, y), (0, 2))


@spelling
def the_largest_of_rows_and_channels_of_tokens(net):
    y = net.view(tokens(net, net.spikes()), (T, 2, D // 2, H * W))
    y = net.op("ReduceMax", y, net.constant([1, 3], np.int64), keepdims=0)
    net.end(y, (0,), D // 2)


@spelling
def a_sum_of_magnitudes(net):
    y = net.op("ReduceL1", net.conv(net.spikes()), net.constant([2, 3], np.int64))
    net.end(fires(net, y))


@spelling
def a_mean_over_all_axes(net):
    y = net.op("ReduceMean", net.conv(net.spikes()), keepdims=0, name="mean")
    net.head(net.view(y, (1, 1)), 1)


@spelling
def a_mean_over_no_axis(net):
    y = net.op("ReduceMean", net.conv(net.spikes()), noop_with_empty_axes=1, name="mean")
    net.end(fires(net, y))


@spelling
def a_factor_for_each_pixel(net):
    factors = net.constant(np.linspace(-1, 2, H * W).reshape(H, W))
    net.end(fires(net, net.op("Mul", net.conv(net.spikes()), factors, name="scale")))


@spelling
def a_divisor_for_each_channel_and_column(net):
    divisors = net.constant(np.linspace(1, 2, D * W).reshape(1, D, 1, W))
    net.end(fires(net, net.op("Div", net.spikes(), divisors, name="scale")))


@spelling
def a_convolution_along_the_rows_of_frames(net):
    y = net.op("Transpose", net.image(), perm=[0, 2, 1, 3])
    net.end(net.lif(net.conv(y, (H, D)), v_threshold=2.0))


def padded(net: Small, x: str, amounts: list[int], *others: str, **attributes) -> str:
    return net.op("Pad", x, net.constant(amounts, np.int64), *others, name="pad", **attributes)


@spelling
def an_image_that_is_mirrored(net):
    y = padded(net, net.conv(net.spikes()), [0, 0, 1, 2, 0, 0, 1, 0], mode="reflect")
    net.end(fires(net, y))


@spelling
def spikes_whose_border_is_repeated(net):
    y = padded(net, net.spikes(), [0, 0, 1, 0, 0, 0, 0, 3], mode="edge")
    net.end(fires(net, net.conv(y)))


@spelling
def channels_of_zeros(net):
    """As the shortcuts of CIFAR's small ResNets."""
    y = padded(net, net.spikes(), [0, 2, 0, 0, 0, 1, 0, 0])
    net.end(fires(net, net.conv(y, (D + 3, D))))


@spelling
def a_border_that_is_no_zero(net):
    axes = net.constant([3, 1], np.int64)
    y = padded(net, net.conv(net.spikes()), [1, 0, 2, -1], net.constant(0.75), axes)
    net.end(fires(net, y), channels=D - 1)


@spelling
def a_border_around_a_single_number(net):
    """Which could be taken for that number, where numbers are told apart by trying."""
    net.frames = (1, 1, C, 1, 1)
    y = net.op("Abs", net.conv(net.image(), (C, 1), name="stem"))
    y = padded(net, y, [0, 0, 2, 1, 0, 0, 0, 1])
    net.end(fires(net, y), channels=1)


@spelling
def a_class_token(net):
    """The same at every time step, before the tokens of an image, and numbers behind them."""
    token = np.broadcast_to(np.linspace(-1, 1, D), (T, 1, 1, D))
    other = np.broadcast_to(np.linspace(1, 0, 2 * D).reshape(1, 1, 2, D), (T, 1, 2, D))
    x = net.op("Concat", net.constant(token), net.tokens(), net.constant(other), axis=2)
    net.end_of_tokens(fires(net, net.op("MatMul", x, net.weights(D, D), name="fc")))


@spelling
def coordinates_as_channels(net):
    rows = np.broadcast_to(np.linspace(0, 1, H)[:, None], (T, 1, H, W))
    columns = np.broadcast_to(np.linspace(0, 1, W), (T, 1, H, W))
    s = net.conv(net.spikes())
    x = net.op("Concat", net.spikes(name="other"), net.constant(rows), s, net.constant(columns),
               axis=1)  # fmt: skip
    net.end(fires(net, net.conv(x, (2 * D + 2, D), name="last")))


@spelling
def a_constant_repeated_over_time(net):
    numbers = np.broadcast_to(np.linspace(0, 1, D * W).reshape(1, D, 1, W), (T, D, H, W))
    net.end(fires(net, net.op("Mul", net.conv(net.spikes()), net.constant(numbers), name="m")))


@spelling
def attention_by_einsum(net):
    q, k, v = (heads_of(net, name) for name in ("q", "k", "v"))
    scores = net.op("Einsum", q, k, equation="thnd,thmd->thnm", name="scores")
    y = net.op("Einsum", scores, v, equation="t h n m, t h m d -> t n h d", name="mixed")
    net.end_of_tokens(fires(net, net.view(y, (T, 1, H * W, D))))


def heads_of(net: Small, name: str) -> str:
    split = net.view(net.tokens(name), (T, H * W, 2, D // 2))
    return net.op("Transpose", split, perm=[0, 2, 1, 3])


@spelling
def a_linear_layer_by_einsum(net):
    y = net.op("Einsum", net.tokens(), net.weights(7, D), equation="tbnc,oc->tbno", name="fc")
    net.end(fires(net, y), (0, 1, 2), 7)


@spelling
def float_weights_first_by_einsum(net):
    weights = net.constant(np.random.default_rng(0).normal(size=(7, D)))
    y = net.op("Einsum", weights, net.conv(net.spikes()), equation="oc,tchw->tohw", name="mix")
    net.end(fires(net, y), channels=7)


@spelling
def a_sum_by_einsum(net):
    y = net.op("Einsum", net.conv(net.spikes()), equation="tchw->tch", name="sum")
    net.end(fires(net, y), (0, 2))


@spelling
def an_image_that_is_enlarged_between_its_pixels(net):
    scales = net.constant([1.0, 1.0, 2.0, 1.5])
    y = net.op("Resize", net.spikes(), "", scales, mode="linear", name="larger")
    net.end(fires(net, net.conv(y)))


@spelling
def an_image_that_is_enlarged_by_the_nearest_pixel(net):
    """As ONNX does where no mode is said."""
    scales = net.constant([1.0, 1.0, 2.0, 1.5])
    net.end(fires(net, net.conv(net.op("Resize", net.spikes(), "", scales, name="larger"))))


@spelling
def potentials_of_another_size(net):
    sizes = net.constant([T, D, 3, 7], np.int64)
    y = net.op("Resize", net.conv(net.spikes()), "", "", sizes, mode="cubic", name="other",
               coordinate_transformation_mode="align_corners")  # fmt: skip
    net.end(fires(net, y))


@spelling
def a_linear_layer_of_turned_spikes(net):
    flat = net.view(net.spikes(), (T, D * H * W))
    turned = net.op("Transpose", flat, perm=[1, 0])
    y = net.op("Gemm", turned, net.weights(D * H * W, D), transA=1, name="fc")
    net.end(fires(net, y), (0,))


@spelling
def a_bias_that_differs_by_row(net):
    net.frames = (1, 1, C, H, W)
    rows = net.view(tokens_of_one_step(net), (H * W, D))
    bias = net.constant(np.linspace(-1, 1, H * W * D).reshape(H * W, D))
    y = net.op("Gemm", rows, net.weights(D, D), bias, name="fc", beta=0.5)
    net.end(fires(net, net.view(y, (1, H * W, D))), (0, 1))


def tokens_of_one_step(net: Small) -> str:
    return net.op("Transpose", net.view(net.spikes(), (1, D, H * W)), perm=[0, 2, 1])


@spelling
def channels_that_are_repeated(net):
    y = net.op("Tile", net.spikes(), net.constant([1, 2, 1, 3], np.int64), name="tile")
    net.end(fires(net, net.conv(y, (2 * D, D))))


@spelling
def a_hard_sigmoid(net):
    y = net.op("HardSigmoid", net.conv(net.spikes()), alpha=0.25, name="gate")
    net.end(net.lif(y, v_threshold=0.5))


@spelling
def a_pool_of_volumes(net):
    volume = net.view(net.spikes(), (T, 1, D, H, W))
    window = {"kernel_shape": [1, 3, 3], "strides": [1, 2, 2], "pads": [0, 1, 1, 0, 1, 1]}
    net.end(net.op("MaxPool", volume, **window), (0, 1, 3, 4))


@spelling
def a_constant_less_spikes(net):
    net.end(net.lif(net.op("Sub", net.constant(1.5), net.spikes(), name="not"), v_threshold=1.1))


@spelling
def a_difference_of_spikes(net):
    net.end(fires(net, net.op("Sub", net.spikes(), net.conv(net.spikes(name="other")), name="sub")))


@spelling
def negative_potentials(net):
    net.end(fires(net, net.op("Neg", net.op("Neg", net.conv(net.spikes())))))


@spelling
def numbers_by_position(net):
    """As position embeddings."""
    numbers = net.constant(np.random.default_rng(0).normal(0, 0.4, (1, 1, H * W, D)))
    net.end_of_tokens(fires(net, net.op("Add", net.tokens(), numbers, name="embed")))


@spelling
def a_border_that_is_written_pixel_by_pixel(net):
    """As Meta-SpikeFormer's RepConv: what BatchNorm gives for 0, around what it gives."""
    y = net.conv(net.spikes())
    padded = net.op("Pad", y, net.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    rows = net.op("Transpose", padded, perm=[2, 1, 0, 3])
    values = np.random.default_rng(1).normal(0, 0.5, (D, 1))
    row = net.constant(np.broadcast_to(values[:, :, None], (1, D, T, W + 2)))
    for at in (0, H + 1):
        rows = net.op("ScatterND", rows, net.constant([[at]], np.int64), row)
    columns = net.op("Transpose", rows, perm=[3, 1, 0, 2])
    column = net.constant(np.broadcast_to(values[:, :, None], (1, D, H + 2, T)))
    for at in (0, W + 1):
        columns = net.op("ScatterND", columns, net.constant([[at]], np.int64), column)
    bordered = net.op("Transpose", columns, perm=[3, 1, 2, 0])
    codes = net.weights(D, 1, 3, 3)
    net.end(fires(net, net.op("Conv", bordered, codes, group=D, name="depthwise")))


@spelling
def a_linear_layer_of_whole_images(net):
    flat = net.view(
        net.op("MaxPool", net.spikes(), kernel_shape=[2, 2]), (T, D * (H - 1) * (W - 1))
    )
    y = net.op("MatMul", flat, net.weights(D * (H - 1) * (W - 1), 7), name="fc")
    net.end(fires(net, y), (0,), 7)


@spelling
def a_linear_layer_of_whole_images_of_tokens(net):
    flat = net.view(net.tokens(), (T, H * W * D))
    weights = net.weights(7, H * W * D)
    y = net.op("Gemm", flat, weights, net.constant(np.arange(7) / 7), transB=1, name="fc")
    net.end(fires(net, y), (0,), 7)


@spelling
def a_linear_layer_of_whole_frames(net):
    flat = net.view(net.image(), (T, C * H * W))
    net.end(net.lif(net.op("MatMul", flat, net.weights(C * H * W, D), name="fc")), (0,))


@spelling
def a_linear_layer_of_frames(net):
    x = net.op("Transpose", net.view(net.image(), (T, 1, C, H * W)), perm=[0, 1, 3, 2])
    net.end_of_tokens(net.lif(net.op("MatMul", x, net.weights(C, D), name="fc"), v_threshold=2.0))


@spelling
def frames_that_are_numbers(net):
    net.frames = (T, 1, 11)
    x = net.op("QuantUniform", "frames", net.constant(1.0), domain=DIALECT, bits=8, signed=0)
    s = net.lif(net.op("MatMul", x, net.weights(11, D), name="fc"), v_threshold=3.0)
    net.end(s, (0,))


@spelling
def a_linear_layer_of_potentials(net):
    y = net.op("MatMul", sums(net), net.weights(D, D), name="second")
    net.end_of_tokens(fires(net, y))


@spelling
def a_linear_layer_of_scaled_sums(net):
    net.frames = (1, 1, C, 1, 1)
    x, bias = net.view(net.spikes(), (1, D)), net.constant([1.0, -2.0])
    net.op("Gemm", x, net.weights(D, 2), bias, alpha=-0.3, beta=0.7, out="logits", name="head")


@spelling
def a_head_of_scaled_sums(net):
    gemm(net, alpha=0.5)


@spelling
def a_mask_of_positions(net):
    mask = fires(net, net.conv(net.spikes(name="other"), (D, 1)))
    net.end(net.op("Mul", net.spikes(), mask, name="gate"))


@spelling
def a_mask_of_tokens_by_heads(net):
    """As QKFormer's: q summed over the channels of a head, its neurons, times k."""
    net.frames = (T, 1, C, 2, 3)
    q, k = (net.view(net.spikes(name=name), (T, 1, 3, 2, 6)) for name in "qk")
    total = net.op("ReduceSum", q, net.constant([3], np.int64), keepdims=1, name="sum")
    mask = fires(net, total, name="mask")
    net.end(net.view(net.op("Mul", mask, k, name="gate"), (T, D, 2, 3)))


@spelling
def a_mean_over_channels(net):
    y = net.mean(net.spikes(), [1], keepdims=1, name="mean")
    net.end(fires(net, net.conv(y, (1, D))))


@spelling
def a_mean_of_potentials_over_channels(net):
    y = net.mean(net.conv(net.spikes()), [1], keepdims=1, name="mean")
    net.end(fires(net, net.conv(y, (1, D))))


@spelling
def attention_between_transposes(net):
    """V^T K Q^T, which is (Q K^T V)^T."""
    v, k, q = parts(net)
    scores = net.op("MatMul", turned(net, v), k, name="scores")
    y = net.op("MatMul", scores, turned(net, q), name="product")
    net.end(fires(net, y), (0, 1, 3))


@spelling
def attention_whose_neurons_come_before_its_heads_are_merged(net):
    q, k, v = (heads(net, x) for x in parts(net))
    k = net.op("Transpose", k, perm=[0, 1, 2, 4, 3])
    y = net.op("MatMul", net.op("MatMul", q, k, name="scores"), v, name="product")
    net.end(net.view(net.op("Transpose", net.lif(y), perm=[0, 1, 3, 2, 4]), (T, 1, H * W, D)),
            (0, 1, 2))  # fmt: skip


@spelling
def attention_of_neurons_whose_heads_come_last(net):
    made = []
    for name in "qkv":
        split = net.view(net.conv(net.image(), (C, D), name=name), (T, 1, 3, 2, H * W))
        last = net.op("Transpose", split, perm=[0, 1, 3, 4, 2])
        s = net.lif(last, v_threshold=2.0, name=f"{name}.lif")
        made.append(net.op("Transpose", s, perm=[0, 1, 4, 3, 2]))
    q, k, v = made
    scores = net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 2, 4, 3]), name="scores")
    y = net.op("Transpose", net.op("MatMul", scores, v, name="product"), perm=[0, 1, 3, 2, 4])
    net.end_of_tokens(net.lif(net.view(y, (T, 1, H * W, D)), name="attention"))


@spelling
def attention_of_parts_of_one_layer(net):
    """As SpikingJelly's: q, k and v are one layer's, [T, 3, heads, d, L]."""
    y = net.conv(net.image(), (C, 3 * D), name="qkv")
    s = net.lif(net.view(y, (T, 1, 3 * D, H * W)), v_threshold=2.0, name="qkv.lif")
    split = net.view(s, (T, 1, 3, 2, D // 2, H * W))
    q, k, v = (
        net.op("Gather", split, net.constant(i, np.int64), axis=2, name=f"part{i}")
        for i in range(3)
    )
    y = net.op("MatMul", v, net.op("Transpose", k, perm=[0, 1, 2, 4, 3]), name="scores")
    y = net.op("Mul", net.op("MatMul", y, q, name="product"), net.constant(0.25))
    net.end(net.view(net.lif(y, name="attention"), (T, D, H, W)))


@spelling
def parts_that_are_joined_in_another_order(net):
    s = net.spikes(40)
    net.nodes.append(onnx.helper.make_node("Split", [s], ["a", "b", "c"], "split", axis=1,
                                           num_outputs=3))  # fmt: skip
    b = fires(net, net.conv("b", (14, 9)), name="of b")
    joined = net.op("Concat", "c", b, "a", axis=1, name="join")
    net.end(fires(net, net.conv(joined, (35, D), name="last")))


@spelling
def potentials_that_are_split_and_joined(net):
    y = net.conv(net.spikes(), (D, 40))
    bounds = [[net.constant([i], np.int64) for i in part] for part in ((0, 7, 1), (7, -1, 1))]
    a, b = (net.op("Slice", y, *part, name=f"part{i}") for i, part in enumerate(bounds))
    joined = net.op("Concat", b, net.spikes(name="other"), a, axis=1, name="join")
    net.end(fires(net, joined), channels=39 + D)


@spelling
def a_vote(net):
    """As SpikingJelly's VotingLayer: a mean over groups of channels, at every time step."""
    net.frames, net.classes = (T, 1, C, 1, 1), 2
    s = net.view(net.spikes(10), (T, 1, 10))
    votes = net.op("AveragePool", s, kernel_shape=[5], strides=[5], name="vote")
    net.mean(net.view(votes, (T, 2)), [0], keepdims=1, out="logits")


@spelling
def a_vote_of_channels_apart(net):
    net.frames = (T, 1, C, 1, 1)
    s = net.view(net.spikes(10), (T, 1, 10))
    weights = net.constant([[[0.5, -1.0, 2.0]]])
    places = {"dilations": [2], "strides": [2], "pads": [1, 0], "name": "vote"}
    votes = net.op("Conv", s, weights, net.constant([0.25]), **places)
    net.classes = 4
    net.mean(net.view(votes, (T, 4)), [0], keepdims=1, out="logits")


@spelling
def classes_of_every_step(net):
    rates = net.mean(net.spikes(), [2, 3])
    classes = net.op("MatMul", rates, net.weights(D, 2), name="head")
    return leaving(net, classes, T, 2)


@spelling
def classes_of_the_last_step(net):
    classes = net.op("MatMul", net.mean(net.spikes(), [2, 3]), net.weights(D, 2), name="head")
    last = net.op("Gather", classes, net.constant(-1, np.int64), axis=0, name="last")
    net.view(last, (1, 2), out="logits")


@spelling
def a_head_of_two_layers(net):
    rates = net.view(net.mean(net.spikes(), [0, 2, 3]), (1, D))
    y = net.op("Gemm", rates, net.weights(7, D), net.constant(np.ones(7) / 9), transB=1, name="fc1")
    net.op("Gemm", net.op("Relu", y), net.weights(2, 7), transB=1, out="logits", name="fc2")


@spelling
def classes_of_a_mean_of_potentials(net):
    y = net.mean(net.conv(net.spikes()), [0, 2, 3])
    net.head(y, D)


@spelling
def classes_of_flattened_rates(net):
    rates = net.view(net.mean(net.spikes(), [0]), (1, D * H * W))
    net.op("Gemm", rates, net.weights(2, D * H * W), transB=1, out="logits", name="head")


@spelling
def rates_that_leave_the_network(net):
    net.classes = D
    net.view(net.mean(net.spikes(), [0, 2, 3]), (1, D), out="logits")


@spelling
def a_layer_after_the_classifier(net):
    rates = net.view(net.mean(net.spikes(), [0, 2, 3]), (1, D))
    scores = net.op("MatMul", rates, net.weights(D, 2), out="scores", name="head")
    net.op("Mul", scores, net.constant(-2.0), out="logits", name="scale")


@pytest.mark.parametrize("write", SPELLINGS, ids=lambda f: f.__name__)
def test_it_compiles_to_what_its_floats_say(write, tmp_path):
    compiles_to_what_its_floats_say(write, tmp_path)


BATCH_FIRST = {
    "permuted": ((1, T, C, H, W), lambda net, x: net.op("Transpose", x, perm=[1, 0, 2, 3, 4])),
    "flattened": ((1, T, C, H, W), lambda net, x: net.view(x, (T, C, H, W))),
    "without a batch": ((T, C, H, W), lambda net, x: x),
    "stacked": ((1, C, H, W), lambda net, x: net.view(
        net.op("Concat", *[net.view(x, (1, 1, C, H, W))] * T, axis=0), (T, C, H, W))),
    "repeated behind the batch": ((1, C, H, W), lambda net, x: net.op(
        "Tile", net.view(x, (1, 1, C, H, W)), net.constant([1, T, 1, 1, 1], np.int64))),
}  # fmt: skip


@pytest.mark.parametrize("quantized_first", [True, False])
@pytest.mark.parametrize("name", BATCH_FIRST)
def test_frames_may_come_in_other_shapes(name, quantized_first, tmp_path):
    shape, view = BATCH_FIRST[name]
    net = Small(tmp_path, shape)

    def quantized(x: str) -> str:
        scale = net.constant(1.0)
        return net.op("QuantUniform", x, scale, domain=DIALECT, bits=8, signed=0)

    x = view(net, quantized("frames")) if quantized_first else quantized(view(net, "frames"))
    y = net.conv(net.view(x, (T, C, H, W)), (C, D), name="stem")
    net.end(net.lif(y, v_threshold=2.0))
    path = net.save(net.path)
    assert hqc.verify(path, "host").ok
    loaded = load_model(path)
    assert loaded.graph.inputs[0].shape == [T, 1, C, H, W]
    given = np.random.default_rng(0).poisson(1.0, shape).astype(np.float32)
    frames = given.reshape(T, 1, C, H, W) if T in shape[:2] else np.stack([given] * T)
    original = ir.serde.deserialize_model(onnx.load(path))
    expected = run_reference(original, {"frames": given})[0]
    np.testing.assert_array_equal(run_reference(loaded, {"frames": frames})[0], expected)
