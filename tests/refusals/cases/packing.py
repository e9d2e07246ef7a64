"""Kernels on packed spikes: passes/packing, and what its steps take for granted.

Some of it make-integer sees to. It is refused where a file holds the integer graph itself, as
`--dump-after` writes it.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from hqc.compiler import lower, pipeline_for
from hqc.dialect import DIALECT
from hqc.frontend.load import load_model
from hqc.targets import load_target
from tests.refusals.case import C, D, Small, T, refused


@refused(
    "node 'lif' (ai.hqc::FixedPointLIF): it reads spikes, neither sums nor potentials",
)
def neurons_on_a_mean_of_one_position(net):
    net.frames = (T, 1, C, 1, 1)
    net.end(net.lif(net.mean(net.spikes(), [2, 3], keepdims=1, name="mean"), name="lif"))


@refused(
    "node 'lif' (ai.hqc::FixedPointLIF): it reads a sum over [X] of [T C Y X]; only one over all "
    "positions, Y and X, is lowered here",
)
def neurons_on_a_mean_of_rows(net):
    y = net.mean(net.spikes(), [3], keepdims=1, name="mean")
    net.end(net.lif(y, name="lif"))


@refused(
    "node 'mean/Rescale' (ai.hqc::Rescale): it reads a sum over [X] of [T C Y X]; only one over "
    "all positions, Y and X, is lowered here",
)
def a_convolution_of_a_mean_of_rows(net):
    y = net.mean(net.spikes(), [3], keepdims=1, name="mean")
    net.end(net.lif(net.conv(y)))


@refused(
    "node 'gate' (BitwiseAnd): it multiplies spikes and spikes of shapes [2, 6, 4, 5] and [2, 1, "
    "4, 5]; only spikes of one shape, or spikes and a mask of their channels, are multiplied",
)
def a_mask_of_positions(net):
    s, mask = net.spikes(), net.spikes(1, name="mask")
    net.end(net.op("Mul", s, mask, name="gate"))


@refused(
    "node 'gate' (BitwiseAnd): its inputs differ in their axes, [T C Y X] and [T C X Y]",
    hint="permute one of them before",
)
def a_product_of_two_layouts(net):
    net.frames = (T, 1, C, 4, 4)
    s = net.spikes()
    net.end(net.op("Mul", s, net.op("Transpose", s, perm=[0, 1, 3, 2]), name="gate"))


@refused(
    "node 'scores' (MatMul): there is no kernel for it",
    hint="a product of activations is lowered where neurons read (Q K^T) V",
)
def a_shortcut_around_attention(net):
    q, k, v = (net.tokens(name) for name in "qkv")
    scores = net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 3, 2]), name="scores")
    y = net.op("MatMul", scores, v, name="product")
    net.end_of_tokens(net.lif(net.op("Add", y, v, name="add")))


@refused(
    "node 'head' (ai.hqc::IntegerLinear): it reads spikes summed over [X Y] of [T C Y X]; a "
    "classifier reads spikes summed over all of time and position",
    hint="take the mean of spikes over all of both before it",
)
def a_classifier_of_every_step(net):
    rates = net.mean(net.spikes(), [2, 3])
    net.op("MatMul", rates, net.weights(D, 2), name="head", out="logits")
    proto = onnx.load(net.save(net.path))
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value = T
    return proto


def as_integers(net: Small) -> onnx.ModelProto:
    """The integer graph of a sound network, to spoil."""
    model = load_model(net.save(net.path))
    stages = lower(model, pipeline_for(load_target("host"), "make-integer"))
    return ir.serde.serialize_model(stages.integer)


def two_layers(net: Small) -> onnx.ModelProto:
    """The integer graph of `stem`, `stem.lif`, `conv` and `lif`, on squares of as many rows as
    channels."""
    net.frames = (T, 1, C, D, D)
    net.end(net.lif(net.conv(net.spikes()), name="lif"))
    return as_integers(net)


def named(proto: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(n for n in proto.graph.node if n.name == name)


def insert(
    proto: onnx.ModelProto, before: str, op_type: str, *constants: np.ndarray, **attributes
) -> None:
    """Put a node between one of that name and its first input."""
    reader = named(proto, before)
    out = f"{op_type}_{len(proto.graph.node)}"
    names = [f"{out}.{index}" for index in range(len(constants))]
    proto.graph.initializer.extend(map(numpy_helper.from_array, constants, names))
    made = helper.make_node(op_type, [reader.input[0], *names], [out], out, **attributes)
    proto.graph.node.insert(list(proto.graph.node).index(reader), made)
    reader.input[0] = out


@refused(
    "node 'QuantUniform_0' (ai.hqc::QuantizeFrames): frames of shape [2, 2, 3, 6, 6]",
    hint="give frames [T, 1, C, H, W], one recording",
    passes="pack-spikes",
)
def integer_frames_of_two_recordings(net):
    proto = two_layers(net)
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2
    del proto.graph.value_info[:]
    return proto


@refused(
    "node 'stem.lif' (ai.hqc::FixedPointLIF): its input's axes are [C T Y X], whose first is not "
    "time",
    passes="pack-spikes",
)
def integer_neurons_that_step_along_channels(net):
    net.frames = (D, 1, C, D, D)
    net.end(net.spikes())
    proto = as_integers(net)
    insert(proto, "stem.lif", "Transpose", perm=[1, 0, 2, 3])
    return proto


@refused(
    "node 'conv' (ConvInteger): its input's axes are [T Y C X], not those of an image, [T C Y X]",
    passes="pack-spikes",
)
def an_integer_convolution_of_channels_in_another_place(net):
    proto = two_layers(net)
    insert(proto, "conv", "Transpose", perm=[0, 2, 1, 3])
    return proto


@refused(
    "node 'ReduceMean_8' (ReduceSum): it reads sums that no neuron has read",
    passes="pack-spikes",
)
def integer_sums_that_a_mean_reads(net):
    proto = two_layers(net)
    for node in proto.graph.node:
        if named(proto, "lif").output[0] in node.input:
            node.input[0] = named(proto, "lif").input[0]
    return proto


@refused(
    "node 'Reshape_10' (Reshape): its input's axes, [T C Y X], cannot be followed to [2, 4, 9, 6]",
    passes="pack-spikes",
)
def an_integer_view_that_mixes_axes(net):
    proto = two_layers(net)
    insert(proto, "conv", "Reshape", np.int64([T, 4, 9, D]))
    insert(proto, "conv", "Reshape", np.int64([T, D, D, D]))
    return proto


def linear(net: Small) -> onnx.ModelProto:
    """The integer graph of a linear layer `fc` on tokens of as many channels as positions."""
    net.frames = (T, 1, D, 2, 3)
    net.end_of_tokens(net.lif(net.op("MatMul", net.tokens(), net.weights(D, D), name="fc")))
    return as_integers(net)


@refused(
    "node 'fc' (MatMulInteger): its input's axes are [T 1 C Y*X], whose last is not the channels",
    passes="pack-spikes",
)
def an_integer_layer_along_positions(net):
    proto = linear(net)
    insert(proto, "fc", "Transpose", perm=[0, 1, 3, 2])
    return proto


@refused(
    "node 'fc' (MatMulInteger): it reads frames, which only convolutions of all channels do",
    passes="pack-spikes",
)
def an_integer_layer_of_frames(net):
    proto = linear(net)
    for node in proto.graph.node:
        if named(proto, "stem.lif").output[0] in node.input:
            node.input[0] = named(proto, "stem").input[0]
    return proto


@refused(
    "node 'Rescale_10' (ai.hqc::Rescale): it reads frames, not spikes",
    passes="pack-spikes",
)
def integer_frames_that_are_rescaled(net):
    proto = two_layers(net)
    insert(proto, "stem", "Rescale", np.int32([1]), np.int64([0]), domain=DIALECT, shift=8)
    made = named(proto, "stem").input[0]
    info = helper.make_tensor_value_info(made, TensorProto.INT32, (T, C, D, D))
    proto.graph.value_info.append(info)
    return proto


@refused(
    "node 'add' (Add): its inputs differ in their axes, [T C X Y] and [T C Y X]",
    passes="pack-spikes",
)
def an_integer_sum_of_two_layouts(net):
    net.frames = (T, 1, C, D, D)
    net.end(net.lif(net.op("Add", net.spikes(), net.spikes(name="other"), name="add")))
    proto = as_integers(net)
    insert(proto, "add", "Transpose", perm=[0, 1, 3, 2])
    return proto


@refused(
    "node 'add' (Add): it adds spikes and potentials",
    passes="pack-spikes",
)
def an_integer_sum_of_spikes_and_potentials(net):
    s = net.spikes()
    net.end(net.lif(net.op("Add", net.conv(s), net.conv(s, name="other"), name="add")))
    proto = as_integers(net)
    named(proto, "add").input[0] = named(proto, "stem.lif").output[0]
    insert(proto, "add", "Cast", to=TensorProto.INT32)
    return proto


@refused(
    "codes span more than 2 bits",
    passes="plan-memory",
)
def codes_of_more_bits_than_they_are_said_to_have(net):
    net.end(net.spikes())
    model = load_model(net.save(net.path))
    stages = lower(model, pipeline_for(load_target("host"), "make-integer,pack-spikes"))
    proto = ir.serde.serialize_model(stages.kernels)
    bits = next(a for a in named(proto, "stem.lif").attribute if a.name == "weight_bits")
    bits.i = 2
    return proto
