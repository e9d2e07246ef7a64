"""Layers: passes/integer_rules, what convolutions, linear layers and their sums refuse."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from hqc.dialect import DIALECT
from tests.refusals.case import C, D, H, Small, T, W, refused


@refused(
    "node 'image' (Reshape): its input 'frames' is in floats",
    hint="let it read what the input's quantizer gives; where there is none: hqc quantize MODEL "
    "--data RECORDINGS, or with weights as they are, hqc import MODEL --data RECORDINGS",
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
    "model.onnx: node 'if' (If): which branch it takes is not known before",
    hint="hqc writes loops out: give them a constant number of steps, and let no condition depend "
    "on data",
)
def a_choice_by_what_is_computed(net):
    s = net.spikes()
    same = [helper.make_node("Identity", [s], ["chosen"])]
    out = helper.make_tensor_value_info("chosen", TensorProto.FLOAT, (T, D, H, W))
    branch = helper.make_graph(same, "branch", [], [out])
    most = net.op("ReduceMax", s, keepdims=0)
    condition = net.op("Greater", most, net.constant(0.5))
    net.end(net.op("If", condition, then_branch=branch, else_branch=branch, name="if"))


@refused(
    "node 'loop' (Loop): it runs 9223372036854775807 times",
    hint="hqc writes loops out, of 1 to 4096 steps",
)
def a_loop_without_an_end(net):
    """As exporters write `while True`."""
    s = net.spikes()
    of = {
        "step": (TensorProto.INT64, ()),
        "goes_on": (TensorProto.BOOL, ()),
        "before": (TensorProto.FLOAT, (T, D, H, W)),
        "after": (TensorProto.FLOAT, (T, D, H, W)),
    }
    step, goes_on, before, after = (helper.make_tensor_value_info(n, *t) for n, t in of.items())
    doubled = helper.make_node("Add", ["before", "before"], ["after"])
    body = helper.make_graph([doubled], "body", [step, goes_on, before], [goes_on, after])
    count = net.constant(2**63 - 1, np.int64)
    net.end(net.op("Loop", count, net.constant(True, np.bool_), s, body=body, name="loop"))


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
    "node 'conv' (Conv): its window has 3 dimensions, not 1 or 2",
    passes="make-integer",
)
def a_convolution_in_three_dimensions(net):
    volume = net.view(net.spikes(), (1, T, D, H, W))
    y = net.op("Conv", volume, net.weights(T, T, 1, 1, 1), name="conv")
    net.end(net.lif(net.view(y, (T, D, H, W))))


@refused(
    "node 'conv' (Conv): its weights are computed; only constant ones are lowered",
)
def a_convolution_whose_weights_are_computed(net):
    s = net.spikes()
    codes = net.view(net.op("MaxPool", s, kernel_shape=[H, W]), (T, D, 1, 1))
    net.end(net.op("Conv", s, codes, name="conv"), channels=T)


def gemm(net: Small, **attributes: object) -> None:
    """A layer of one step and one position."""
    net.frames = (1, 1, C, 1, 1)
    x = net.view(net.spikes(), (1, D))
    net.op("Gemm", x, net.weights(D, 2), out="logits", name="head", **attributes)


@refused(
    "node 'fc' (Gemm): transA is 1",
    hint="run canonicalize before",
    passes="make-integer",
)
def a_linear_layer_of_turned_spikes(net):
    net.frames = (D, 1, C, 1, 1)
    y = net.op("Gemm", net.view(net.spikes(), (D, D)), net.weights(D, D), transA=1, name="fc")
    net.end(net.lif(y), (0,))


@refused(
    "node 'head' (Gemm): alpha is 0",
    hint="leave the layer out",
)
def a_linear_layer_times_zero(net):
    gemm(net, alpha=0.0)


def sums(net: Small) -> str:
    """What a linear layer adds up, as tokens."""
    return net.op("MatMul", net.tokens(name="other"), net.weights(D, D), name="fc")


@refused(
    "node 'mix' (MatMul): its input 'value_0' is constant; only an activation is lowered there",
)
def a_matrix_for_each_step_times_activations(net):
    y = net.op("MatMul", net.weights(T, 1, H * W, H * W), net.tokens(), name="mix")
    net.end_of_tokens(net.lif(y))


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


@refused(
    "node 'fc' (Gemm): its bias, of shape [6, 1], varies along the rows of its input",
    hint="run canonicalize before",
    passes="make-integer",
)
def a_linear_layer_whose_bias_is_one_a_row(net):
    net.frames = (D, 1, C, 1, 1)
    x, bias = net.view(net.spikes(), (D, D)), net.constant(np.ones((D, 1)))
    net.end(net.lif(net.op("Gemm", x, net.weights(D, D), bias, name="fc")), (0,))


@refused(
    "node 'drop' (Dropout): it is in training mode",
    hint="export the model in eval mode",
)
def dropout_in_training_mode(net):
    training = net.constant(0.5), net.constant(True, bool)
    net.end(net.op("Dropout", net.spikes(), *training, name="drop"))


def leaving(net: Small, value: str, *shape: int) -> onnx.ModelProto:
    """A network whose output is that value."""
    net.op("Identity", value, out="logits", name="last")
    proto = onnx.load(net.save(net.path))
    sizes = proto.graph.output[0].type.tensor_type.shape
    sizes.ClearField("dim")
    for n in shape:
        sizes.dim.add().dim_value = n
    return proto


@refused("output 'logits' is not computed from the frames")
def a_network_that_gives_its_weights(net):
    net.end(net.spikes())
    net.nodes[-1].output[0] = "classes"
    return leaving(net, net.weights(D, D), D, D)


@refused(
    "node 'classes' (Softmax): the network ends in it",
    hint="leave it out: the logits say the same class",
)
def a_softmax_of_logits(net):
    net.end(net.spikes())
    net.nodes[-1].output[0] = "scores"
    net.op("Softmax", "scores", axis=-1, out="logits", name="classes")


@refused(
    "node 'part' (Slice): it takes 0 of 6 along axis 1 of [T C Y X]",
)
def no_channels(net):
    bounds = [net.constant([i], np.int64) for i in (3, 3, 1, 1)]
    y = net.op("Slice", net.spikes(), *bounds, name="part")
    net.end(net.op("Concat", net.spikes(name="other"), y, axis=1))


@refused(
    "node 'product' (MatMul): it multiplies sums and sums",
    hint="put LIF neurons before one of the factors",
)
def a_product_of_sums(net):
    net.frames = (T, 1, C, D, D)
    y = net.conv(net.spikes())
    net.end(net.lif(net.op("MatMul", y, y, name="product")))


@refused(
    "node 'product' (MatMul): it multiplies potentials and potentials",
    hint="put neurons before one of the factors",
)
def a_product_of_counts_and_potentials(net):
    counts = net.view(net.mean(net.spikes(), [3]), (T, D, 1, H))
    y = net.op("MatMul", counts, net.conv(net.spikes(name="other")), name="product")
    net.end(net.lif(y))


@refused(
    "node 'conv' (Conv): its 4 groups are of 6 channels and 6 outputs, and its input has 6 "
    "channels",
)
def groups_that_do_not_fit(net):
    net.end(net.lif(net.conv(net.spikes(), group=4)))


@refused(
    "node 'softmax' (Softmax): it is inside the network",
    hint="spiking self-attention has none: train with neurons, or a constant scale, in its place",
)
def a_softmax_before_neurons(net):
    net.end(net.lif(net.op("Softmax", net.conv(net.spikes()), axis=1, name="softmax")))


@refused(
    "node 'part' (Gather): its indices, of shape [2, 2], are no list",
    hint="run canonicalize before",
    passes="make-integer",
)
def a_table_of_channels(net):
    indices = net.constant([[0, 3], [5, 1]], np.int64)
    y = net.op("Gather", net.spikes(), indices, axis=1, name="part")
    net.end(net.view(y, (T, 4, H, W)), channels=4)
