"""Arithmetic, pooling and reductions: passes/integer_rules/arithmetic.py."""

from __future__ import annotations

import numpy as np
from onnx import helper

from tests.refusals.case import C, D, H, Small, T, W, refused


@refused(
    "node 'mul' (Mul): its constant, of shape [1, 2, 1, 1, 1], has more axes than its input, of "
    "shape [2, 6, 4, 5]",
    hint="run canonicalize before",
    passes="make-integer",
)
def a_factor_of_more_axes_than_its_input(net):
    y = net.op("Mul", net.conv(net.spikes()), net.constant(np.ones((1, T, 1, 1, 1))), name="mul")
    net.end(net.lif(net.view(y, (T, D, H, W))))


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
    net.end(net.lif(of_negative_variance(net)))


@refused(
    "node 'norm' (BatchNormalization): it gives numbers that are NaN or infinite, of frames in the "
    "input's range",
    hint="is a variance negative, or a scale before it far too large?",
)
def a_norm_of_negative_variance_that_is_rounded(net):
    y = net.op("Round", of_negative_variance(net))
    net.end(net.op("Clip", y, net.constant(0.0), net.constant(3.0)))


def of_negative_variance(net: Small) -> str:
    variance = net.constant([1, 1, 1, -1, 1, -2])
    return net.op(
        "BatchNormalization", net.conv(net.spikes()),
        *(net.constant(np.full(D, n)) for n in (1.0, 0.5, 0.0)), variance, name="norm",
    )  # fmt: skip


@refused(
    "node 'gate' (Mul): it multiplies sums and sums; one of two activations must be spikes",
    hint="put neurons before the product of two activations",
)
def a_product_of_sums_of_one_place(net):
    s = net.spikes()
    net.end(net.lif(net.op("Mul", net.conv(s), net.conv(s), name="gate")))


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
    "node 'pool' (MaxPool): ceil_mode is 0 and dilations are [2, 2]; only windows without either "
    "are lowered",
)
def pooling_of_dilated_windows(net):
    pooled(net, net.spikes(), kernel_shape=[2, 2], dilations=[2, 2])


@refused(
    "node 'pool' (AveragePool): its window is [2, 2], padded by [2, 0, 0, 0]",
    hint="pool in windows that are wider than their padding, volumes without ceil_mode",
)
def a_mean_of_padding_alone(net):
    attributes = {"kernel_shape": [2, 2], "pads": [2, 0, 0, 0], "name": "pool"}
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
    hint="pool in windows that are wider than their padding",
)
def pooling_of_padding_alone(net):
    pooled(net, net.spikes(), kernel_shape=[2, 2], pads=[2, 0, 0, 0])


@refused(
    "node 'scale' (Mul): its constant, of shape [1, 1, 4, 5], varies along axes other than the "
    "channels of its input, whose axes are [T C Y X]",
    hint="run canonicalize before",
    passes="make-integer",
)
def a_factor_for_each_pixel(net):
    factors = net.constant(np.linspace(1, 2, H * W).reshape(H, W))
    net.end(net.lif(net.op("Mul", net.conv(net.spikes()), factors, name="scale")))


@refused(
    "node 'add' (Add): its input's axes, [T C*Y], do not come apart as [T C*Y]",
)
def flattened_images_of_other_sizes(net):
    """Three channels of two rows, and two of three."""
    net.frames = (T, 1, C, 6, 1)
    flat = [
        net.view(
            net.op("MaxPool", net.spikes(n, name), kernel_shape=[n, 1], strides=[n, 1]), (T, 6)
        )
        for n, name in ((3, "stem"), (2, "other"))
    ]
    net.end(net.lif(net.op("Add", *flat, name="add")), (0,))


@refused(
    "node 'pad' (Pad): it pads [T C Y X]; only zeros around images are lowered",
    hint="run canonicalize before",
    passes="make-integer",
)
def an_image_that_is_mirrored(net):
    amounts = net.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    y = net.op("Pad", net.conv(net.spikes()), amounts, mode="reflect", name="pad")
    net.end(net.lif(y))


@refused(
    "node 'size': hqc has no integer lowering for Resize as it is written here",
    hint="`hqc ops` lists what is lowered; docs/extending.md says how to add a rule",
)
def a_size_that_each_runtime_makes_of_a_scale_in_its_own_way(net):
    """Half of five columns: two pixels, or two and a half."""
    scales = net.constant([1.0, 1.0, 1.0, 0.5])
    attributes = {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}
    net.end(net.lif(net.op("Resize", net.spikes(), "", scales, name="size", **attributes)))


@refused(
    "node 'scatter': hqc has no integer lowering for ScatterND as it is written here",
    hint="`hqc ops` lists what is lowered; docs/extending.md says how to add a rule",
)
def a_border_of_pixels(net):
    """At a single time step, copies of the edge look like constants."""
    net.frames = (1, 1, 3, H, W)
    amounts = net.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    y = net.op("Pad", net.conv(net.spikes()), amounts, mode="edge", name="pad")
    corner = net.constant([[0, 0, 0, 0]], np.int64), net.constant([7.0])
    net.end(net.lif(net.op("ScatterND", y, *corner, name="scatter")))
