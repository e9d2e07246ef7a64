"""Layers: passes/integer_rules/sums.py and quantity.py."""

from __future__ import annotations

import numpy as np
from onnx import helper

from hqc.dialect import DIALECT
from tests.refusals.case import C, D, H, Small, T, W, refused


@refused(
    "node 'scale' (Mul): it reads 'scores', the output of the classifier",
    hint="the classifier must be the last layer",
)
def a_layer_after_the_classifier(net):
    rates = net.view(net.mean(net.spikes(), [0, 2, 3]), (1, D))
    scores = net.op("MatMul", rates, net.weights(D, 2), out="scores", name="head")
    net.op("Mul", scores, net.constant(2.0), out="logits", name="scale")


@refused(
    "node 'image' (Reshape): its input 'frames' is in floats",
    hint="put a QuantUniform on the input of the network, and LIF neurons between layers",
)
def frames_without_a_quantizer(net):
    x = net.view("frames", (T, C, H, W), name="image")
    net.end(net.lif(net.conv(x, (C, D))))


@refused(
    "node 'conv' (Conv): its input 'value_6' is computed; only a constant is lowered there",
)
def a_computed_bias(net):
    bias = net.view(net.mean(net.spikes(name="other"), [0, 2, 3]), (D,))
    net.end(net.lif(net.conv(net.spikes(), bias=bias)))


@refused(
    "node 'pool' (MaxPool): it reads frames as potentials",
    hint="frames can be read by convolutions alone; put a convolution and neurons before it",
)
def frames_that_are_pooled(net):
    x = net.op("MaxPool", net.image(), kernel_shape=[2, 2], name="pool")
    net.end(net.lif(net.conv(x, (C, D))))


@refused(
    "node 'add' (Add): it shares its sums with neurons for which a channel has scale 0",
    hint="give it a convolution or linear layer of its own",
)
def sums_of_a_silent_channel_that_another_layer_reads(net):
    """One norm takes a channel away from neurons, a shortcut reads it."""
    y = net.conv(net.spikes())
    silent = net.op("Mul", y, net.constant(np.reshape([0, 1, 1, 1, 1, 1], (D, 1, 1))))
    s = net.lif(silent, name="lif")
    both = net.op("Add", net.op("Mul", y, net.constant(2.0)), net.conv(s, name="next"), name="add")
    net.end(net.lif(both))


@refused(
    "node 'pool' (MaxPool): its output 'indices' is not lowered, only the first",
)
def a_second_output(net):
    outputs = ["pooled", "indices"]
    pool = helper.make_node("MaxPool", [net.spikes()], outputs, "pool", kernel_shape=[2, 2])
    net.nodes.append(pool)
    net.end(net.op("Cast", "indices", to=1))


@refused(
    "node 'pool': hqc has no integer lowering for AveragePool",
    hint="it lowers: Add, ...; see docs/extending.md for adding a rule",
)
def an_op_without_a_rule(net):
    net.end(net.op("AveragePool", net.spikes(), kernel_shape=[2, 2], name="pool"))


@refused(
    "node 'conv' (Conv): its weights have 6 scales along an axis that is not its output channels",
    hint="give their quantizer one scale, or the axis of the output channels",
)
def weights_quantized_by_input(net):
    scale = net.constant(np.linspace(0.1, 0.2, D))
    inputs = net.constant(np.ones((D, D, 1, 1))), scale
    codes = net.op("QuantUniform", *inputs, domain=DIALECT, bits=4, axis=1)
    net.end(net.lif(net.op("Conv", net.spikes(), codes, name="conv")))


@refused(
    "node 'conv' (Conv): its bias has 5 numbers for 6 outputs",
)
def a_bias_for_other_channels(net):
    bias = net.constant(np.ones(D - 1))
    net.end(net.lif(net.conv(net.spikes(), bias=bias)))


@refused(
    "node 'conv' (Conv): it has 2 dimensions, and dilations of [2, 2]; only two, without "
    "dilation, are lowered",
)
def a_dilated_convolution(net):
    codes = net.weights(D, D, 2, 2)
    net.end(net.lif(net.op("Conv", net.spikes(), codes, dilations=[2, 2], name="conv")))


@refused(
    "node 'conv' (Conv): it has 1 dimensions, and dilations of [1]; only two, without dilation, "
    "are lowered",
)
def a_convolution_in_one_dimension(net):
    flat = net.view(net.spikes(), (T, D, H * W))
    y = net.op("Conv", flat, net.weights(D, D, 1), name="conv")
    net.end(net.lif(net.view(y, (T, D, H, W))))


@refused(
    "node 'conv' (Conv): its weights are computed; only constant ones are lowered",
)
def a_convolution_whose_weights_are_computed(net):
    s = net.spikes()
    codes = net.view(net.op("MaxPool", s, kernel_shape=[H, W]), (T, D, 1, 1))
    net.end(net.op("Conv", s, codes, name="conv"), channels=T)


@refused(
    "node 'conv' (Conv): its input's axes are [T Y C X]",
    hint="give it images, [T, C, H, W] of one recording",
)
def a_convolution_of_channels_in_another_place(net):
    net.frames = (T, 1, C, 4, 4)
    y = net.op("Transpose", net.spikes(4), perm=[0, 2, 1, 3])
    net.end(net.lif(net.conv(y, (4, D))))


@refused(
    "node 'conv' (Conv): it has 2 groups, each of 3 inputs and 3 outputs; only groups of one and "
    "one, which are depthwise, are lowered",
)
def a_convolution_of_two_groups(net):
    codes = net.weights(D, D // 2, 1, 1)
    net.end(net.lif(net.op("Conv", net.spikes(), codes, group=2, name="conv")))


@refused(
    "node 'conv' (Conv): a depthwise convolution of frames",
    hint="frames are read by convolutions of all channels only",
)
def a_depthwise_convolution_of_frames(net):
    codes = net.weights(C, 1, 3, 3)
    y = net.op("Conv", net.image(), codes, group=C, name="conv")
    net.end(net.lif(y), channels=C)


def gemm(net: Small, **attributes: object) -> None:
    """A layer of one step and one position."""
    net.frames = (1, 1, C, 1, 1)
    x = net.view(net.spikes(), (1, D))
    net.op("Gemm", x, net.weights(D, 2), out="logits", name="head", **attributes)


@refused(
    "node 'fc' (Gemm): transA is 1; activations are lowered as they are",
)
def a_linear_layer_of_turned_spikes(net):
    net.frames = (D, 1, C, 1, 1)
    y = net.op("Gemm", net.view(net.spikes(), (D, D)), net.weights(D, D), transA=1, name="fc")
    net.end(net.lif(y), (0,))


@refused(
    "node 'head' (Gemm): alpha is 0.5, not 1",
    hint="scale the weights instead",
)
def a_linear_layer_of_scaled_sums(net):
    gemm(net, alpha=0.5)


@refused(
    "node 'qk' (MatMul): it multiplies spikes and spikes that are scaled or shifted",
    hint="put LIF neurons before a product of activations",
)
def a_product_of_spikes_that_a_constant_was_added_to(net):
    k = net.op("Add", net.tokens("k"), net.constant(1.0))
    y = net.op("MatMul", net.tokens("q"), net.op("Transpose", k, perm=[0, 1, 3, 2]), name="qk")
    net.end(net.lif(y), (0, 1, 2), H * W)


@refused(
    "node 'qk' (MatMul): it multiplies spikes and sums",
    hint="put LIF neurons before a product of activations",
)
def a_product_of_spikes_and_sums(net):
    y = net.op("MatMul", net.tokens(), net.op("Transpose", sums(net), perm=[0, 1, 3, 2]), name="qk")
    net.end(net.lif(y), (0, 1, 2), H * W)


def sums(net: Small) -> str:
    """What a linear layer adds up, as tokens."""
    return net.op("MatMul", net.tokens(name="other"), net.weights(D, D), name="fc")


@refused(
    "node 'product' (MatMul): its factors' axes, [T C Y X] and [Y C X T], differ before the last "
    "two",
)
def a_product_of_steps(net):
    """Its factors are one matrix for each row of the image, not for each step."""
    net.frames = (2, 1, C, 2, 2)
    a, b = net.spikes(2), net.spikes(2, name="other")
    y = net.op("MatMul", a, net.op("Transpose", b, perm=[2, 1, 3, 0]), name="product")
    net.end(net.lif(y), channels=2)


@refused(
    "node 'attention' (MatMul): its sums reach 4429185024, more than 32 bits hold",
)
def a_product_whose_sums_leave_32_bits(net):
    net.frames = (1, 1, C, 8, 8)
    x = net.spikes(33)
    for _ in range(7):
        x = net.op("Add", x, x)
    q = net.op("Transpose", net.view(x, (1, 1, 33, 64)), perm=[0, 1, 3, 2])
    scores = net.op("MatMul", q, net.view(x, (1, 1, 33, 64)), name="scores")
    y = net.op("MatMul", scores, q, name="attention")
    net.end(net.lif(y), (0, 1, 2), 33)


@refused(
    "node 'second' (MatMul): it reads sums",
    hint="put LIF neurons before a linear layer",
)
def a_linear_layer_of_potentials(net):
    y = net.op("MatMul", sums(net), net.weights(D, D), name="second")
    net.end_of_tokens(net.lif(y))


@refused(
    "node 'mix' (MatMul): its input 'value_0' is constant; only an activation is lowered there",
    hint="let weights be the second factor",
)
def weights_times_activations(net):
    y = net.op("MatMul", net.weights(H * W, H * W), net.tokens(), name="mix")
    net.end_of_tokens(net.lif(y))


@refused(
    "node 'mix' (MatMul): its input's axes are [T 1 C Y*X], whose last is not the channels",
    hint="permute the axes so that the channels are last",
)
def a_linear_layer_along_positions(net):
    x = net.view(net.spikes(), (T, 1, D, H * W))
    net.end(net.lif(net.op("MatMul", x, net.weights(H * W, D), name="mix")), (0, 1, 2))


@refused(
    "node 'fc' (MatMul): its weights, of shape [2, 1, 6, 6], are not a matrix",
)
def a_linear_layer_of_a_matrix_for_each_step(net):
    y = net.op("MatMul", net.tokens(), net.weights(T, 1, D, D), name="fc")
    net.end_of_tokens(net.lif(y))


@refused(
    "node 'fc' (Gemm): its weights are computed; only constant ones are lowered",
)
def a_linear_layer_whose_weights_are_computed(net):
    net.frames = (2, 1, C, 1, 1)
    s = net.view(net.spikes(2), (2, 2))
    net.end(net.lif(net.op("Gemm", s, s, name="fc")), (0,), 2)


@refused(
    "node 'head' (Gemm): its bias reaches 3.11e+23 units of its sums, more than 64 bits hold",
    hint="is the bias far too large, or the scale of the weights far too small?",
)
def a_bias_that_no_integer_holds(net):
    net.head(net.mean(net.spikes(), [0, 2, 3]), D, bias=[1e20, 0])


@refused(
    "node 'LIF_10' (ai.hqc::LIF): its membrane potentials do not fit 32 bits beside the least "
    "threshold that reads them, 1",
    hint="is a scale or a bias before it, as of a BatchNorm, far too large?",
)
def a_convolution_of_potentials_that_leave_no_room(net):
    y = net.op("Mul", net.conv(net.spikes()), net.constant(1e30))
    net.end(net.lif(net.conv(y, name="second")))
