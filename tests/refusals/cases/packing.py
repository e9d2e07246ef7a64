"""Kernels on packed spikes: passes/packing."""

from __future__ import annotations

from tests.refusals.case import C, D, T, refused


@refused("?")
def neurons_on_a_mean_of_one_position(net):
    net.frames = (T, 1, C, 1, 1)
    net.end(net.lif(net.mean(net.spikes(), [2, 3], keepdims=1, name="mean")), (0, 2, 3))


@refused("?")
def a_linear_layer_of_frames(net):
    x = net.op("Transpose", net.image(), perm=[0, 2, 3, 1])
    net.end(net.lif(net.op("MatMul", x, net.weights(C, D), name="fc")), (0, 1, 2))


@refused("?")
def a_mask_of_positions(net):
    s, mask = net.spikes(), net.spikes(1, name="mask")
    net.end(net.op("Mul", s, mask, name="gate"))


@refused("?")
def a_product_of_two_layouts(net):
    net.frames = (T, 1, C, 4, 4)
    s = net.spikes()
    net.end(net.op("Mul", s, net.op("Transpose", s, perm=[0, 1, 3, 2]), name="gate"))


@refused("?")
def neurons_on_a_mean_of_rows(net):
    y = net.mean(net.spikes(), [3], keepdims=1, name="mean")
    net.end(net.lif(y, name="lif"))


@refused("?")
def a_classifier_of_every_step(net):
    y = net.mean(net.spikes(), [2, 3])
    net.op("MatMul", y, net.weights(D, 2), name="fc", out="steps")
    net.op("MaxPool", net.view("steps", (1, 1, T, 2)), kernel_shape=[T, 1], out="most")
    net.view("most", (1, 2), out="logits")
