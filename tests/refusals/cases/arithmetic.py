"""Arithmetic, pooling and reductions: passes/integer_rules/arithmetic.py."""

from __future__ import annotations

import numpy as np
from onnx import helper

from tests.refusals.case import D, H, Small, T, W, refused


@refused(
    "node 'mul' (Mul): its constant, of shape [1, 2, 1, 1, 1], has more axes than its input, of "
    "shape [2, 6, 4, 5]",
    hint="reshape the constant to as many axes",
)
def a_factor_of_more_axes_than_its_input(net):
    y = net.op("Mul", net.conv(net.spikes()), net.constant(np.ones((1, T, 1, 1, 1))), name="mul")
    net.end(net.lif(net.view(y, (T, D, H, W))))


@refused(
    "node 'm' (Mul): its constant, of shape [1, 1, 1, 5], varies along axes other than the "
    "channels of its input, whose axes are [T C Y X]",
    hint="let it be one number, or one a channel",
)
def a_factor_for_each_column(net):
    net.end(net.lif(net.op("Mul", net.conv(net.spikes()), net.constant([1, 2, 3, 4, 5]), name="m")))


@refused(
    "node 'div' (Div): it divides by 'value_4', which is computed, not a constant",
)
def a_computed_divisor(net):
    s = net.spikes()
    net.end(net.lif(net.op("Div", net.conv(s), s, name="div")))


@refused(
    "node 'div' (Div): it divides by 'value_6', which is computed, not a constant",
)
def a_constant_divided(net):
    net.end(net.lif(net.op("Div", net.constant(1.0), net.conv(net.spikes()), name="div")))


@refused(
    "node 'div' (Div): 1 of the 6 numbers it divides by are 0",
)
def a_divisor_of_zero(net):
    divisor = net.constant(np.reshape([1, 2, 0, 4, 5, 6], (D, 1, 1)))
    net.end(net.lif(net.op("Div", net.conv(net.spikes()), divisor, name="div")))


def norm(net: Small, x: str, *parameters: str, channels: int = D, **attributes) -> str:
    given = [net.constant(np.full(channels, n)) for n in (1.0, 0.5, 0.0, 1.0)][len(parameters) :]
    return net.op("BatchNormalization", x, *parameters, *given, name="norm", **attributes)


@refused(
    "node 'norm' (BatchNormalization): its input's axes are [T Y C X], and axis 1, which it "
    "normalizes, is not the channels",
    hint="permute the axes before it, so that they are [..., C, ...] with C at place 1",
)
def a_norm_of_rows(net):
    y = net.op("Transpose", net.conv(net.spikes()), perm=[0, 2, 1, 3])
    y = net.op("Transpose", norm(net, y, channels=H), perm=[0, 2, 1, 3])
    net.end(net.lif(y))


@refused(
    "node 'norm' (BatchNormalization): its parameters are computed by the graph",
    hint="export the model in eval mode",
)
def a_norm_of_computed_parameters(net):
    gamma = net.mean(net.spikes(), [0, 2, 3])
    net.end(net.lif(norm(net, net.conv(net.spikes(name="other")), gamma)))


@refused(
    "node 'norm' (BatchNormalization): it is in training mode",
    hint="export the model in eval mode",
)
def a_norm_in_training_mode(net):
    outputs = ["normalized", "mean", "variance"]
    numbers = [net.constant(np.full(D, n)) for n in (1.0, 0.5, 0.0, 1.0)]
    norm = helper.make_node(
        "BatchNormalization", [net.conv(net.spikes()), *numbers], outputs, "norm", training_mode=1
    )
    net.nodes.append(norm)
    net.end(net.lif("normalized"))


@refused(
    "node 'norm' (BatchNormalization): the variance of channel 3 is -1, with epsilon -0.99999 (2 "
    "of 6 channels are not above 0)",
    hint="a variance is never negative: was the checkpoint damaged, or epsilon set to 0?",
)
def a_norm_of_negative_variance(net):
    variance = net.constant([1, 1, 1, -1, 1, -2])
    y = net.op(
        "BatchNormalization", net.conv(net.spikes()),
        *(net.constant(np.full(D, n)) for n in (1.0, 0.5, 0.0)), variance, name="norm",
    )  # fmt: skip
    net.end(net.lif(y))


@refused(
    "node 'gate' (Mul): it multiplies spikes and sums; only spikes are multiplied",
    hint="put neurons before the product of two activations",
)
def a_product_of_spikes_and_potentials(net):
    s = net.spikes()
    net.end(net.lif(net.op("Mul", s, net.conv(s), name="gate")))


@refused(
    "node 'gate' (Mul): its inputs' axes are [T C 1 X] and [T C Y 1]",
    hint="multiply spikes of one shape, or spikes and a mask that is the same at all positions",
)
def a_product_of_spikes_each_repeated_along_an_axis(net):
    """Of a column for each row."""
    s = net.spikes()
    pooled = (
        net.op("MaxPool", s, kernel_shape=window, strides=window) for window in ([H, 1], [1, W])
    )
    net.end(net.op("Mul", *pooled, name="gate"))


@refused(
    "node 'gate' (Mul): its inputs' axes are [T C Y X] and [C T 1 1]",
    hint="multiply spikes of one shape, or spikes and a mask that is the same at all positions",
)
def a_mask_of_channels_along_time(net):
    """There are as many steps as channels."""
    net.frames = (D, 1, 3, H, W)
    mask = net.op("MaxPool", net.spikes(name="other"), kernel_shape=[H, W])
    mask = net.op("Transpose", mask, perm=[1, 0, 2, 3])
    net.end(net.op("Mul", net.spikes(), mask, name="gate"))


@refused(
    "node 'gate' (Mul): its inputs' axes are [T C Y X] and [T C X Y]",
    hint="multiply spikes of one shape, or spikes and a mask that is the same at all positions",
)
def a_product_of_two_layouts(net):
    net.frames = (T, 1, 3, 4, 4)
    s = net.spikes()
    net.end(net.op("Mul", s, net.op("Transpose", s, perm=[0, 1, 3, 2]), name="gate"))


@refused(
    "node 'gate' (Mul): its inputs' axes are [T 1 Y*X C] and [T 1 C 1]",
    hint="multiply spikes of one shape, or spikes and a mask that is the same at all positions",
)
def a_mask_of_channels_along_tokens(net):
    """There are as many tokens as channels."""
    net.frames = (T, 1, 3, 2, 3)
    mask = net.op("MaxPool", net.spikes(name="other"), kernel_shape=[2, 3])
    gated = net.op("Mul", net.tokens(), net.view(mask, (T, 1, D, 1)), name="gate")
    net.end_of_tokens(gated)


@refused(
    "node 'gate' (Mul): its inputs' axes are [T C Y/2 Y%2 X] and [T C Y/2 1 1]",
    hint="multiply spikes of one shape, or spikes and a mask that is the same at all positions",
)
def a_mask_of_a_part_of_the_rows(net):
    s = net.view(net.spikes(), (T, D, H // 2, 2, W))
    mask = net.lif(net.mean(s, [3, 4], keepdims=1), name="mask")
    net.end(net.op("Mul", s, mask, name="gate"), (0, 2, 3, 4))


@refused(
    "node 'add' (Add): it adds tensors of shapes [2, 6, 4, 5] and [2, 6, 1, 1]; only those of one "
    "shape are added",
)
def a_sum_of_two_shapes(net):
    s = net.spikes()
    pooled = net.op("MaxPool", s, kernel_shape=[H, W])
    net.end(net.lif(net.op("Add", s, pooled, name="add")))


@refused(
    "node 'add' (Add): its inputs differ in their axes, [T C Y X] and [T C X Y]",
    hint="permute one of them before",
)
def a_sum_of_two_layouts(net):
    """Rows and columns change places."""
    net.frames = (T, 1, 3, 4, 4)
    s = net.spikes()
    net.end(net.lif(net.op("Add", s, net.op("Transpose", s, perm=[0, 1, 3, 2]), name="add")))


@refused(
    "node 'conv' (Conv): auto_pad is SAME_UPPER, not explicit pads",
    hint="run fold-padding before",
    passes="make-integer",
)
def padding_that_is_not_written_out(net):
    net.end(net.lif(net.conv(net.spikes(), auto_pad="SAME_UPPER")))


def pooled(net: Small, x: str, axes=(0, 2, 3), **attributes) -> None:
    net.end(net.op("MaxPool", x, name="pool", **attributes), axes)


@refused(
    "node 'pool' (MaxPool): its input's axes are [T C 1 Y*X]",
    hint="pool images, [T, C, H, W]",
)
def pooling_of_flattened_images(net):
    y = net.view(net.spikes(), (T, D, H * W))
    pooled(net, y, (0, 2), kernel_shape=[2])


@refused(
    "node 'pool' (MaxPool): its window is [2, 2, 2], padded by [0, 0, 0, 0, 0, 0]",
    hint="pool images, in windows that are wider than their padding",
)
def pooling_in_three_dimensions(net):
    y = net.view(net.spikes(), (1, T, D, H, W))
    y = net.op("MaxPool", y, kernel_shape=[2, 2, 2], pads=[0] * 6, strides=[1, 1, 1], name="pool")
    net.end(y, (0, 1, 3, 4), D - 1)


@refused(
    "node 'pool' (MaxPool): ceil_mode is 0 and dilations are [2, 2]; only windows without either "
    "are lowered",
)
def pooling_of_dilated_windows(net):
    pooled(net, net.spikes(), kernel_shape=[2, 2], dilations=[2, 2])


@refused(
    "node 'pool' (AveragePool): the mean of its windows, [3, 3] padded by [1, 1, 1, 1], is over "
    "fewer pixels at the border",
    hint="let it count padding (count_include_pad), and its windows end with the image",
)
def a_mean_of_windows_that_leaves_padding_out(net):
    attributes = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "name": "pool"}
    net.end(net.op("AveragePool", net.spikes(), **attributes))


@refused(
    "node 'not' (Sub): it subtracts spikes from a constant",
    hint="run canonicalize before",
    passes="make-integer",
)
def a_constant_less_spikes(net):
    net.end(net.lif(net.op("Sub", net.constant(1.0), net.spikes(), name="not")))


@refused(
    "node 'sub' (Sub): it subtracts an activation from another",
    hint="run canonicalize before",
    passes="make-integer",
)
def a_difference_of_spikes(net):
    net.end(net.lif(net.op("Sub", net.spikes(), net.spikes(name="other"), name="sub")))


@refused(
    "node 'pool' (MaxPool): its window is [2, 2], padded by [2, 0, 0, 0]",
    hint="pool images, in windows that are wider than their padding",
)
def pooling_of_padding_alone(net):
    pooled(net, net.spikes(), kernel_shape=[2, 2], pads=[2, 0, 0, 0])


@refused(
    "node 'pool' (MaxPool): its input's axes are [T 1 Y*X C]",
    hint="pool images, [T, C, H, W]",
)
def pooling_of_tokens(net):
    x = net.op("MaxPool", net.tokens(), kernel_shape=[2, 1], name="pool")
    net.end_of_tokens(x)


@refused(
    "node 'mean' (ReduceMean): it reduces axes [1, 2] of [T C Y X], channels among others",
    hint="reduce channels by themselves, and time and position by themselves",
)
def a_mean_over_channels_and_rows(net):
    y = net.mean(net.spikes(), [1, 2], keepdims=1, name="mean")
    net.end(net.lif(net.conv(y, (1, D))))


@refused(
    "node 'mean' (ReduceMean): it does not say which axes it reduces",
    hint="name the axes, of time and position",
)
def a_mean_over_all_axes(net):
    mean = net.op("ReduceMean", net.spikes(), keepdims=0, name="mean")
    net.head(net.view(mean, (1, 1)), 1)


@refused(
    "node 'pad' (Pad): its input's axes are [T C Y X]; only zeros around images are lowered",
    hint="pad images, [T, C, H, W], with zeros",
)
def an_image_that_is_mirrored(net):
    amounts = net.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    y = net.op("Pad", net.conv(net.spikes()), amounts, mode="reflect", name="pad")
    net.end(net.lif(y))


@refused(
    "node 'add' (Add): its constant, of shape [2, 6, 1, 1], differs by time step",
    hint="let it be the same at every step",
)
def a_constant_of_each_step(net):
    numbers = net.constant(np.arange(T * D).reshape(T, D, 1, 1))
    net.end(net.lif(net.op("Add", net.spikes(), numbers, name="add")))


@refused(
    "node 'pad' (Pad): its input's axes are [1 C Y X]; only zeros around images are lowered",
    hint="pad images, [T, C, H, W], with zeros",
)
def a_border_of_pixels(net):
    """At a single time step, copies of the edge look like constants."""
    net.frames = (1, 1, 3, H, W)
    amounts = net.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    y = net.op("Pad", net.conv(net.spikes()), amounts, mode="edge", name="pad")
    corner = net.constant([[0, 0, 0, 0]], np.int64), net.constant([7.0])
    net.end(net.lif(net.op("ScatterND", y, *corner, name="scatter")))
