"""Arithmetic, pooling and reductions: passes/integer_rules/arithmetic.py."""

from __future__ import annotations

import numpy as np

from tests.refusals.case import D, H, Small, T, W, refused


@refused("?")
def a_factor_of_more_axes_than_its_input(net):
    y = net.op("Mul", net.conv(net.spikes()), net.constant(np.ones((1, T, 1, 1, 1))), name="mul")
    net.end(net.lif(net.view(y, (T, D, H, W))))


@refused("?")
def a_factor_for_each_column(net):
    net.end(net.lif(net.op("Mul", net.conv(net.spikes()), net.constant([1, 2, 3, 4, 5]), name="m")))


@refused("?")
def a_computed_divisor(net):
    s = net.spikes()
    net.end(net.lif(net.op("Div", net.conv(s), s, name="div")))


@refused("?")
def a_constant_divided(net):
    net.end(net.lif(net.op("Div", net.constant(1.0), net.conv(net.spikes()), name="div")))


@refused("?")
def a_divisor_of_zero(net):
    divisor = net.constant(np.reshape([1, 2, 0, 4, 5, 6], (D, 1, 1)))
    net.end(net.lif(net.op("Div", net.conv(net.spikes()), divisor, name="div")))


def norm(net: Small, x: str, *parameters: str, channels: int = D, **attributes) -> str:
    given = [net.constant(np.full(channels, n)) for n in (1.0, 0.5, 0.0, 1.0)][len(parameters) :]
    return net.op("BatchNormalization", x, *parameters, *given, name="norm", **attributes)


@refused("?")
def a_norm_of_rows(net):
    y = net.op("Transpose", net.conv(net.spikes()), perm=[0, 2, 1, 3])
    y = net.op("Transpose", norm(net, y, channels=H), perm=[0, 2, 1, 3])
    net.end(net.lif(y))


@refused("?")
def a_norm_of_computed_parameters(net):
    gamma = net.mean(net.spikes(), [0, 2, 3])
    net.end(net.lif(norm(net, net.conv(net.spikes(name="other")), gamma)))


@refused("?")
def a_norm_of_negative_variance(net):
    variance = net.constant([1, 1, 1, -1, 1, -2])
    y = net.op(
        "BatchNormalization", net.conv(net.spikes()),
        *(net.constant(np.full(D, n)) for n in (1.0, 0.5, 0.0)), variance, name="norm",
    )  # fmt: skip
    net.end(net.lif(y))


@refused("?")
def a_product_of_spikes_and_potentials(net):
    s = net.spikes()
    net.end(net.lif(net.op("Mul", s, net.conv(s), name="gate")))


@refused("?")
def a_product_of_spikes_each_repeated_along_an_axis(net):
    """Of a column for each row."""
    s = net.spikes()
    pooled = (
        net.op("MaxPool", s, kernel_shape=window, strides=window) for window in ([H, 1], [1, W])
    )
    net.end(net.op("Mul", *pooled, name="gate"))


@refused("?")
def a_constant_less_spikes(net):
    net.end(net.lif(net.op("Sub", net.constant(1.0), net.spikes(), name="not")))


@refused("?")
def a_difference_of_spikes(net):
    net.end(net.lif(net.op("Sub", net.spikes(), net.spikes(name="other"), name="sub")))


@refused("?")
def a_sum_of_two_shapes(net):
    s = net.spikes()
    pooled = net.op("MaxPool", s, kernel_shape=[H, W])
    net.end(net.lif(net.op("Add", s, pooled, name="add")))


@refused("?")
def a_sum_of_two_layouts(net):
    """Rows and columns change places."""
    net.frames = (T, 1, 3, 4, 4)
    s = net.spikes()
    net.end(net.lif(net.op("Add", s, net.op("Transpose", s, perm=[0, 1, 3, 2]), name="add")))


@refused("?", passes="make-integer")
def padding_that_is_not_written_out(net):
    net.end(net.lif(net.conv(net.spikes(), auto_pad="SAME_UPPER")))


def pooled(net: Small, x: str, axes=(0, 2, 3), **attributes) -> None:
    net.end(net.op("MaxPool", x, name="pool", **attributes), axes)


@refused("?")
def pooling_of_windows_that_reach_beyond(net):
    pooled(net, net.spikes(), kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)


@refused("?")
def pooling_in_one_dimension(net):
    y = net.view(net.spikes(), (T, D, H * W))
    pooled(net, y, (0, 2), kernel_shape=[2])


@refused("?")
def pooling_of_padding_alone(net):
    pooled(net, net.spikes(), kernel_shape=[2, 2], pads=[2, 0, 0, 0])


@refused("?")
def pooling_of_tokens(net):
    x = net.op("MaxPool", net.tokens(), kernel_shape=[2, 1], name="pool")
    net.end_of_tokens(x)


@refused("?")
def a_mean_over_computed_axes(net):
    s = net.spikes()
    axes = net.op("Cast", net.op("Sign", s), to=7)
    net.end(net.lif(net.op("ReduceMean", s, axes, keepdims=1, name="mean")))


@refused("?")
def a_mean_over_all_axes(net):
    mean = net.op("ReduceMean", net.spikes(), keepdims=0, name="mean")
    net.head(net.view(mean, (1, 1)), 1)


@refused("?")
def a_mean_over_channels(net):
    y = net.mean(net.spikes(), [1], keepdims=1, name="mean")
    net.end(net.lif(net.conv(y, (1, D))))
