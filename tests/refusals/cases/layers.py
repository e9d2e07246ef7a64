"""Layers: passes/integer_rules/sums.py and quantity.py."""

from __future__ import annotations

import numpy as np
from onnx import helper

from hqc.dialect import DIALECT
from tests.refusals.case import C, D, H, Small, T, W, refused


@refused("?")
def a_layer_after_the_classifier(net):
    rates = net.view(net.mean(net.spikes(), [0, 2, 3]), (1, D))
    scores = net.op("MatMul", rates, net.weights(D, 2), out="scores", name="head")
    net.op("Mul", scores, net.constant(2.0), out="logits", name="scale")


@refused("?")
def frames_without_a_quantizer(net):
    x = net.view("frames", (T, C, H, W), name="image")
    net.end(net.lif(net.conv(x, (C, D))))


@refused("?")
def a_computed_bias(net):
    bias = net.view(net.mean(net.spikes(name="other"), [0, 2, 3]), (D,))
    net.end(net.lif(net.conv(net.spikes(), bias=bias)))


@refused("?")
def frames_that_are_pooled(net):
    x = net.op("MaxPool", net.image(), kernel_shape=[2, 2], name="pool")
    net.end(net.lif(net.conv(x, (C, D))))


@refused("?")
def sums_of_a_silent_channel_that_another_layer_reads(net):
    """One norm takes a channel away from neurons, a shortcut reads it."""
    y = net.conv(net.spikes())
    silent = net.op("Mul", y, net.constant(np.reshape([0, 1, 1, 1, 1, 1], (D, 1, 1))))
    s = net.lif(silent, name="lif")
    both = net.op("Add", net.op("Mul", y, net.constant(2.0)), net.conv(s, name="next"), name="add")
    net.end(net.lif(both))


@refused("?")
def a_second_output(net):
    net.spikes()
    outputs = ["pooled", "indices"]
    pool = helper.make_node(
        "MaxPool", [net.nodes[-1].output[0]], outputs, "pool", kernel_shape=[2, 2]
    )
    net.nodes.append(pool)
    net.end(net.op("Cast", "indices", to=1))


@refused("?")
def an_op_without_a_rule(net):
    net.end(net.op("AveragePool", net.spikes(), kernel_shape=[2, 2], name="pool"))


@refused("?")
def weights_quantized_by_input(net):
    scale = net.constant(np.linspace(0.1, 0.2, D))
    inputs = net.constant(np.ones((D, D, 1, 1))), scale
    codes = net.op("QuantUniform", *inputs, domain=DIALECT, bits=4, axis=1)
    net.end(net.lif(net.op("Conv", net.spikes(), codes, name="conv")))


@refused("?")
def a_bias_for_other_channels(net):
    bias = net.constant(np.ones(D - 1))
    net.end(net.lif(net.conv(net.spikes(), bias=bias)))


@refused("?")
def a_dilated_convolution(net):
    codes = net.weights(D, D, 2, 2)
    net.end(net.lif(net.op("Conv", net.spikes(), codes, dilations=[2, 2], name="conv")))


@refused("?")
def a_convolution_in_one_dimension(net):
    flat = net.view(net.spikes(), (T, D, H * W))
    y = net.op("Conv", flat, net.weights(D, D, 1), name="conv")
    net.end(net.lif(net.view(y, (T, D, H, W))))


@refused("?")
def a_convolution_whose_weights_are_computed(net):
    s = net.spikes()
    codes = net.view(net.op("MaxPool", s, kernel_shape=[H, W]), (T, D, 1, 1))
    net.end(net.op("Conv", s, codes, name="conv"), channels=T)


@refused("?")
def a_convolution_of_channels_in_another_place(net):
    net.frames = (T, 1, C, 4, 4)
    y = net.op("Transpose", net.spikes(4), perm=[0, 2, 1, 3])
    net.end(net.lif(net.conv(y, (4, D))))


@refused("?")
def a_convolution_of_two_groups(net):
    codes = net.weights(D, D // 2, 1, 1)
    net.end(net.lif(net.op("Conv", net.spikes(), codes, group=2, name="conv")))


@refused("?")
def a_depthwise_convolution_of_frames(net):
    codes = net.weights(C, 1, 3, 3)
    y = net.op("Conv", net.image(), codes, group=C, name="conv")
    net.end(net.lif(y), channels=C)


def gemm(net: Small, **attributes: object) -> None:
    """A layer of one step and one position."""
    net.frames = (1, 1, C, 1, 1)
    x = net.view(net.spikes(), (1, D))
    net.op("Gemm", x, net.weights(D, 2), out="logits", name="head", **attributes)


@refused("?")
def a_linear_layer_of_turned_spikes(net):
    net.frames = (D, 1, C, 1, 1)
    y = net.op("Gemm", net.view(net.spikes(), (D, D)), net.weights(D, D), transA=1, name="fc")
    net.end(net.lif(y), (0,))


@refused("?")
def a_linear_layer_of_scaled_sums(net):
    gemm(net, alpha=0.5)


@refused("?")
def a_product_of_spikes_and_sums(net):
    y = net.op("MatMul", net.tokens(), net.op("Transpose", sums(net), perm=[0, 1, 3, 2]), name="qk")
    net.end(net.lif(y), (0, 1, 2), H * W)


def sums(net: Small) -> str:
    """What a linear layer adds up, as tokens."""
    return net.op("MatMul", net.tokens(name="other"), net.weights(D, D), name="fc")


@refused("?")
def a_product_of_steps(net):
    """Its factors are one matrix for each row of the image, not for each step."""
    net.frames = (2, 1, C, 2, 2)
    a, b = net.spikes(2), net.spikes(2, name="other")
    y = net.op("MatMul", a, net.op("Transpose", b, perm=[2, 1, 3, 0]), name="product")
    net.end(net.lif(y), channels=2)


@refused("?")
def a_product_whose_sums_leave_32_bits(net):
    net.frames = (1, 1, C, 8, 8)
    x = net.spikes(33)
    for _ in range(7):
        x = net.op("Add", x, x)
    q = net.op("Transpose", net.view(x, (1, 1, 33, 64)), perm=[0, 1, 3, 2])
    scores = net.op("MatMul", q, net.view(x, (1, 1, 33, 64)), name="scores")
    y = net.op("MatMul", scores, q, name="attention")
    net.end(net.lif(y), (0, 1, 2), 33)


@refused("?")
def a_linear_layer_of_potentials(net):
    y = net.op("MatMul", sums(net), net.weights(D, D), name="second")
    net.end_of_tokens(net.lif(y))


@refused("?")
def a_linear_layer_along_positions(net):
    x = net.view(net.spikes(), (T, 1, D, H * W))
    net.end(net.lif(net.op("MatMul", x, net.weights(H * W, D), name="mix")), (0, 1, 2))


@refused("?")
def a_linear_layer_of_a_matrix_for_each_step(net):
    y = net.op("MatMul", net.tokens(), net.weights(T, 1, D, D), name="fc")
    net.end_of_tokens(net.lif(y))


@refused("?")
def a_linear_layer_whose_weights_are_computed(net):
    net.frames = (2, 1, C, 1, 1)
    s = net.view(net.spikes(2), (2, 2))
    net.end(net.lif(net.op("Gemm", s, s, name="fc")), (0,), 2)


@refused("?")
def a_bias_that_no_integer_holds(net):
    net.head(net.mean(net.spikes(), [0, 2, 3]), D, bias=[1e20, 0])


@refused("?")
def a_convolution_of_potentials_that_leave_no_room(net):
    y = net.op("Mul", net.conv(net.spikes()), net.constant(1e30))
    net.end(net.lif(net.conv(y, name="second")))
