"""Networks that mix time steps: they compile to what their floats say, and so step by step."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.compiled import compiles_to_what_its_floats_say
from tests.refusals.case import C, D, H, Small, T, W
from tests.refusals.cases.layers import leaving

MIXING = []


def mixing(function):
    """Register a function that writes a network."""
    MIXING.append(function)
    return function


def fires(net: Small, x: str, **attributes) -> str:
    """Neurons that are quick to fire."""
    return net.lif(x, v_threshold=0.2, **attributes)


def sliced(net: Small, x: str, start: int, end: int, step: int = 1) -> str:
    """Some of the time steps."""
    return net.op("Slice", x, *(net.constant([i], np.int64) for i in (start, end, 0, step)))


@mixing
def a_mask_of_channels_along_time(net):
    """There are as many steps as channels."""
    net.frames = (D, 1, 3, H, W)
    mask = net.op("MaxPool", net.spikes(name="other"), kernel_shape=[H, W])
    mask = net.op("Transpose", mask, perm=[1, 0, 2, 3])
    net.end(net.op("Mul", net.spikes(), mask, name="gate"))


@mixing
def the_largest_of_all_time_steps(net):
    y = net.op("ReduceMax", net.spikes(), net.constant([0], np.int64), name="pool")
    net.end(y, (0, 2, 3))


@mixing
def a_mean_over_pairs_of_steps(net):
    net.frames = (4, 1, C, H, W)
    y = net.mean(net.view(net.spikes(), (2, 2, D, H, W)), [1], name="mean")
    net.end(fires(net, net.conv(y)))


@mixing
def spikes_and_their_mean_over_time(net):
    s = net.spikes()
    net.end(fires(net, net.op("Add", s, net.mean(s, [0], keepdims=1), name="add")))


@mixing
def a_constant_of_each_step(net):
    numbers = net.constant(np.arange(T * D).reshape(T, D, 1, 1))
    net.end(fires(net, net.op("Add", net.spikes(), numbers, name="add")))


@mixing
def a_product_of_steps(net):
    """Its factors are one matrix for each row of the image, not for each step."""
    net.frames = (3, 1, C, 3, 3)
    a, b = (fires(net, net.conv(net.spikes(name=name), (D, 3))) for name in "ab")
    y = net.op("MatMul", a, net.op("Transpose", b, perm=[2, 1, 3, 0]), name="product")
    net.end(y, channels=3)


@mixing
def steps_that_are_joined(net):
    s = net.op("Concat", net.spikes(), net.spikes(name="other"), axis=0, name="join")
    net.end(s)


@mixing
def a_convolution_of_windows(net):
    y = net.op("Transpose", net.view(net.spikes(), (T, D, 2, 2, W)), perm=[0, 2, 1, 3, 4])
    y = net.view(y, (2 * T, D, 2, W))
    y = net.op("Conv", y, net.weights(D, D, 3, 3), pads=[1] * 4, name="conv")
    net.end(fires(net, net.view(y, (T, 2, D, 2, W))), (0, 1, 3, 4))


@mixing
def a_linear_layer_along_time(net):
    y = net.op("Transpose", net.spikes(), perm=[1, 2, 3, 0])
    y = net.op("MatMul", y, net.weights(T, T), name="mix")
    net.end(fires(net, net.op("Transpose", y, perm=[3, 0, 1, 2])))


@mixing
def a_linear_layer_of_all_there_is(net):
    y = net.view(net.spikes(), (1, T * D * H * W))
    return leaving(net, net.op("MatMul", y, net.weights(T * D * H * W, D), name="mix"), 1, D)


@mixing
def the_first_steps(net):
    net.frames = (4, 1, C, H, W)
    bounds = [net.constant([i], np.int64) for i in (0, 2, 0, 1)]
    net.end(fires(net, net.op("Slice", net.spikes(), *bounds, name="part")))


@mixing
def classes_by_steps(net):
    rates = net.mean(net.spikes(), [2, 3])
    return leaving(net, net.op("Transpose", rates, perm=[1, 0], name="turned"), D, T)


@mixing
def steps_and_channels_in_one_axis_of_the_output(net):
    rates = net.mean(net.spikes(), [2, 3])
    return leaving(net, net.view(rates, (1, T * D)), 1, T * D)


@mixing
def scores_of_steps(net):
    q, k = (net.op("Transpose", net.tokens(name), perm=[1, 2, 0, 3]) for name in "qk")
    scores = net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 3, 2]), name="scores")
    net.end(fires(net, net.op("Transpose", scores, perm=[2, 0, 1, 3])), (0, 1, 2), T)


@mixing
def a_factor_for_each_step(net):
    factors = net.constant(np.reshape([1.0, 2.0], (T, 1, 1, 1)))
    net.end(fires(net, net.op("Mul", net.conv(net.spikes()), factors, name="scale")))


@mixing
def a_view_that_mixes_time_steps(net):
    y = net.view(net.spikes(), (W, T * D * H), name="mix")
    net.end(net.view(y, (T, D, H, W)))


@mixing
def steps_in_another_order_before_a_convolution(net):
    net.frames = (5, 1, C, H, W)
    order = net.constant([4, 0, 0, 3, 1, 2], np.int64)
    s = net.op("Gather", net.spikes(), order, axis=0)
    y = net.op("Conv", fires(net, s), net.weights(D, D, 3, 3), pads=[1] * 4)
    net.end(fires(net, y))


@mixing
def what_changes_from_step_to_step(net):
    """Neurons scan one step less than the network has."""
    net.frames = (4, 1, C, H, W)
    s = net.conv(net.spikes())
    y = net.op("Sub", sliced(net, s, 1, 4), sliced(net, s, 0, 3))
    net.end(fires(net, y, tau=3.0, soft_reset=1))


@mixing
def weights_before_all_that_a_step_gives(net):
    y = net.op("MatMul", net.weights(T + 1, T), net.view(net.spikes(), (T, D * H * W)))
    net.end(fires(net, net.view(y, (T + 1, D, H, W))))


@mixing
def weights_before_tokens(net):
    net.end_of_tokens(fires(net, net.op("MatMul", net.weights(H * W, H * W), net.tokens())))


@mixing
def a_bias_for_each_step_beside_weights_before(net):
    x = net.view(net.spikes(), (T, D * H * W))
    bias = net.constant(np.linspace(-0.5, 0.1, T).reshape(T, 1))
    y = net.op("Gemm", net.weights(T, T), x, bias, alpha=0.5, beta=2.0, transA=1)
    net.end(fires(net, net.view(y, (T, D, H, W))))


@mixing
def a_convolution_along_time(net):
    net.frames = (5, 1, C, H, W)
    y = net.view(net.op("Transpose", net.spikes(), perm=[2, 3, 1, 0]), (H * W, D, 5))
    y = net.op("Conv", y, net.weights(D, D, 3), pads=[1, 1])
    y = net.op("Transpose", net.view(y, (H, W, D, 5)), perm=[3, 2, 0, 1])
    net.end(fires(net, y))


@mixing
def attention_of_each_pixel_over_time(net):
    net.frames = (5, 1, C, H, W)
    q, k, v = (net.op("Transpose", net.spikes(name=n), perm=[2, 3, 0, 1]) for n in "qkv")
    scores = net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 3, 2]))
    y = net.op("Mul", net.op("MatMul", scores, v), net.constant(0.1))
    net.end(fires(net, net.op("Transpose", y, perm=[2, 3, 0, 1])))


@mixing
def attention_of_tokens_of_two_steps_each(net):
    """As of STAtten: Q (K^T V) over the tokens of a chunk of time steps."""
    net.frames = (4, 1, C, H, W)

    def chunks(name):
        x = net.view(
            net.op("Transpose", net.spikes(name=name), perm=[0, 2, 3, 1]), (2, 2, -1, 2, 3)
        )
        return net.view(net.op("Transpose", x, perm=[0, 3, 1, 2, 4]), (2, 2, 2 * H * W, 3))

    q, k, v = map(chunks, "qkv")
    y = net.op("MatMul", q, net.op("MatMul", net.op("Transpose", k, perm=[0, 1, 3, 2]), v))
    y = net.op("Transpose", net.view(y, (2, 2, 2, H * W, 3)), perm=[0, 2, 3, 1, 4])
    y = net.op("Transpose", net.view(y, (4, H, W, D)), perm=[0, 3, 1, 2])
    s = fires(net, net.op("Mul", y, net.constant(0.05)))
    net.end(fires(net, net.op("Add", s, net.spikes(name="other"))))


@mixing
def neurons_of_several_levels_on_steps_in_reverse(net):
    net.frames = (3, 1, C, H, W)
    x = sliced(net, net.conv(net.spikes()), -1, -9, -1)
    levels = net.op("IntegerLIF", x, domain="ai.hqc", levels=4, tau=2.0, v_threshold=0.3)
    net.end(fires(net, net.conv(levels)))


@mixing
def steps_behind_their_mean(net):
    """What was summed over time is repeated, and neurons scan it."""
    mean = net.mean(net.spikes(), [0], keepdims=1)
    y = net.op("Expand", net.conv(mean), net.constant([3, D, H, W], np.int64))
    net.end(fires(net, y, tau=3.0))


@mixing
def one_step_of_what_was_mixed(net):
    y = net.op("MatMul", net.weights(T, T), net.view(net.spikes(), (T, D * H * W)))
    y = net.op("Gather", fires(net, net.view(y, (T, D, H, W))), net.constant(1, np.int64), axis=0)
    net.end(y, (1, 2), D)


@mixing
def mixed_twice(net):
    """Spikes of the first layer are read before and behind what sees all steps."""
    s = net.spikes()
    y = net.op("MatMul", net.weights(T, T), net.view(s, (T, D * H * W)))
    t = fires(net, net.op("Add", net.view(y, (T, D, H, W)), s))
    y = net.op("Add", net.op("Mul", t, net.constant(np.reshape([0.5, 2.0], (T, 1, 1, 1)))), s)
    net.end(fires(net, net.conv(y)))


@mixing
def frames_that_are_mixed(net):
    y = net.view(net.image(), (T, C * H * W))
    y = net.view(net.op("MatMul", net.weights(T, T), y), (T, C, H, W))
    net.end(fires(net, net.conv(y, (C, D)), tau=1.5))


@mixing
def neurons_that_scan_rows_of_a_single_step(net):
    net.frames = (1, 1, C, H, W)
    y = net.view(net.op("Transpose", net.conv(net.spikes()), perm=[2, 1, 0, 3]), (H, D, W))
    net.end(fires(net, y), (0, 2))


@mixing
def sums_of_all_steps_so_far(net):
    net.frames = (4, 1, C, H, W)
    y = net.op("CumSum", net.conv(net.spikes()), net.constant(0, np.int64), exclusive=1)
    net.end(fires(net, net.op("CumSum", y, net.constant(1, np.int64), reverse=1)))


@mixing
def keys_of_one_step_for_all(net):
    """The matrices of one factor are repeated to as many as the other has."""
    k = sliced(net, net.op("Transpose", net.tokens("k"), perm=[0, 1, 3, 2]), 1, 2)
    y = net.op("MatMul", net.op("MatMul", net.tokens("q"), k), net.tokens("v"))
    net.end_of_tokens(fires(net, net.op("Mul", y, net.constant(0.1))))


@mixing
def keys_that_heads_share(net):
    q = net.op("Transpose", net.view(net.tokens("q"), (T, H * W, 3, 2)), perm=[0, 2, 1, 3])
    kv = net.op("MatMul", net.tokens("k"), net.weights(D, 2))
    k = net.op("Transpose", fires(net, kv), perm=[0, 1, 3, 2])
    y = net.op("MatMul", q, k)
    net.end(fires(net, y), (0, 1, 2), H * W)


@pytest.mark.parametrize("write", MIXING, ids=lambda write: write.__name__)
def test_time_steps_that_are_mixed(write, tmp_path):
    compiles_to_what_its_floats_say(write, tmp_path)
