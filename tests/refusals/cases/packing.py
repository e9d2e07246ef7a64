"""Kernels on packed spikes: passes/packing, and what its steps take for granted.

Some of it make-integer sees to. It is refused where a file holds the integer graph itself, as
`--dump-after` writes it.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from hqc.compiler import Stages, lower, pipeline_for
from hqc.dialect import DIALECT
from hqc.dialect.facts import FACTS
from hqc.frontend.load import load_model
from hqc.targets import load_target
from tests.refusals.case import C, D, H, Small, T, W, refused
from tests.refusals.cases.attention import attention


def as_integers(net: Small) -> onnx.ModelProto:
    """The integer graph of a sound network, to spoil."""
    return ir.serde.serialize_model(lowered(net, "make-integer").integer)


def as_kernels(net: Small) -> onnx.ModelProto:
    """The graph of kernels of a sound network, to spoil."""
    return ir.serde.serialize_model(lowered(net, "make-integer,fuse-attention,pack-spikes").kernels)


def lowered(net: Small, passes: str) -> Stages:
    """The network after those passes."""
    return lower(load_model(net.save(net.path)), pipeline_for(load_target("host"), passes))


def two_layers(net: Small) -> onnx.ModelProto:
    """The integer graph of `stem`, `stem.lif`, `conv` and `lif`, on squares of as many rows as
    channels."""
    net.frames = (T, 1, C, D, D)
    net.end(net.lif(net.conv(net.spikes()), name="lif"))
    return as_integers(net)


def named(proto: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(n for n in proto.graph.node if n.name == name)


def insert(
    proto: onnx.ModelProto,
    before: str,
    op_type: str,
    *constants: np.ndarray,
    to: int | None = None,
    **attributes,
) -> None:
    """Put a node between one of that name and its first input, of the same facts.

    `to` is the type of its output, where it is not that of its input.
    """
    reader = named(proto, before)
    out = f"{op_type}_{len(proto.graph.node)}"
    names = [f"{out}.{index}" for index in range(len(constants))]
    proto.graph.initializer.extend(map(numpy_helper.from_array, constants, names))
    if op_type == "Cast":
        attributes["to"] = to
    made = helper.make_node(op_type, [reader.input[0], *names], [out], out, **attributes)
    proto.graph.node.insert(list(proto.graph.node).index(reader), made)
    info = proto.graph.value_info.add()
    info.CopyFrom(next(i for i in proto.graph.value_info if i.name == reader.input[0]))
    info.name = reader.input[0] = out
    info.type.tensor_type.elem_type = to or info.type.tensor_type.elem_type
    info.type.tensor_type.ClearField("shape")


def rescale(proto: onnx.ModelProto, before: str, shift: int = 0) -> None:
    """Put a Rescale by 2^-shift between the node of that name and its first input."""
    numbers, to = (np.int32([1]), np.int64([0])), TensorProto.INT32
    insert(proto, before, "Rescale", *numbers, to=to, domain=DIALECT, shift=shift)


@refused(
    "node 'QuantUniform_0' (ai.hqc::QuantizeFrames): nothing says what its output can reach",
    hint="run make-integer before",
    passes="pack-spikes",
)
def an_integer_model_that_says_nothing_of_its_tensors(net):
    proto = two_layers(net)
    del proto.graph.value_info[:]
    return proto


@refused(
    "model.onnx: what tensor '...' says of itself, hqc.tensor, cannot be read",
    hint="start from the dialect model",
    passes="pack-spikes",
)
def an_integer_model_whose_facts_are_cut_short(net):
    proto = two_layers(net)
    fact = next(p for i in proto.graph.value_info for p in i.metadata_props if p.key == FACTS)
    fact.value = fact.value[:9]
    return proto


@refused(
    "node 'QuantUniform_0' (ai.hqc::QuantizeFrames): frames of shape [2, 2, 3, 6, 6]",
    hint="give frames [T, 1, C, H, W], one recording",
    passes="pack-spikes",
)
def integer_frames_of_two_recordings(net):
    proto = two_layers(net)
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2
    frames = named(proto, "QuantUniform_0").output[0]
    info = next(i for i in proto.graph.value_info if i.name == frames)
    info.type.tensor_type.shape.dim[1].dim_value = 2
    return proto


@refused(
    "node 'stem.lif' (ai.hqc::LIF): its input's axes are [C T Y X], whose first is not time",
    passes="pack-spikes",
)
def integer_neurons_that_step_along_channels(net):
    net.frames = (D, 1, C, D, D)
    net.end(net.spikes())
    proto = as_integers(net)
    insert(proto, "stem.lif", "Transpose", perm=[1, 0, 2, 3])
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
    "node 'Reshape_10' (Reshape): its input's axes, [T C Y X], cannot be followed to [3, 144]",
    passes="pack-spikes",
)
def an_integer_view_that_mixes_time_steps(net):
    proto = two_layers(net)
    insert(proto, "conv", "Reshape", np.int64([3, T * D * D * D // 3]))
    insert(proto, "conv", "Reshape", np.int64([T, D, D, D]))
    return proto


def linear(net: Small) -> onnx.ModelProto:
    """The integer graph of a linear layer `fc` on tokens of as many channels as positions."""
    net.frames = (T, 1, D, 2, 3)
    net.end_of_tokens(net.lif(net.op("MatMul", net.tokens(), net.weights(D, D), name="fc")))
    return as_integers(net)


@refused(
    "node 'Rescale_10' (ai.hqc::Rescale): it reads frames, not spikes",
    passes="pack-spikes",
)
def integer_frames_that_are_rescaled(net):
    proto = two_layers(net)
    rescale(proto, "stem", shift=8)
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
    "node 'head' (ai.hqc::IntegerLinear): it reads potentials summed over [T X Y] of [T C Y X]; a "
    "classifier reads spikes summed over all of time and position",
    hint="take the mean of spikes over all of both before it",
    passes="pack-spikes",
)
def an_integer_classifier_of_potentials(net):
    proto = two_layers(net)
    rescale(proto, "ReduceMean_8")
    return proto


def product(net: Small) -> onnx.ModelProto:
    """The integer graph of a product `gate` of spikes and spikes."""
    net.frames = (T, 1, C, D, D)
    net.end(net.op("Mul", net.spikes(), net.spikes(name="other"), name="gate"))
    return as_integers(net)


@refused(
    "node 'gate' (BitwiseAnd): its input's axes are [C T 1 1], where time is in another place",
    hint="put the time steps first",
    passes="pack-spikes",
)
def an_integer_mask_of_channels_along_time(net):
    net.frames = (D, 1, C, D, D)
    net.end(net.op("Mul", net.spikes(), net.spikes(name="other"), name="gate"))
    proto = as_integers(net)
    window = {"kernel_shape": [D, D], "strides": [1, 1], "pads": [0] * 4}
    insert(proto, "gate", "OrPool", domain=DIALECT, **window)
    insert(proto, "gate", "Transpose", perm=[1, 0, 2, 3])
    return proto


def attribute(proto: onnx.ModelProto, node: str, name: str) -> onnx.AttributeProto:
    """An attribute of the node of that name."""
    return next(a for a in named(proto, node).attribute if a.name == name)


@refused(
    "node 'attention': 6 channels are not 4 heads of one size",
    passes="plan-memory",
)
def a_kernel_of_heads_of_several_sizes(net):
    attention(net)
    proto = as_kernels(net)
    attribute(proto, "attention", "heads").i = 4
    return proto


@refused(
    "node 'stem.lif': its sums over 3 inputs may leave 32 bits",
    hint="train this layer with fewer bits",
    passes="plan-memory",
)
def a_kernel_whose_codes_are_large(net):
    net.end(net.spikes())
    proto = as_kernels(net)
    attribute(proto, "stem.lif", "weight_bits").i = 32
    codes = next(i for i in proto.graph.initializer if i.name == named(proto, "stem.lif").input[1])
    large = np.full(codes.dims, 2**30, np.int32)
    codes.CopyFrom(numpy_helper.from_array(large, codes.name))
    info = next(i for i in proto.graph.value_info if i.name == codes.name)
    info.type.tensor_type.elem_type = TensorProto.INT32
    return proto


@refused(
    "node 'conv' (ai.hqc::IntegerDepthwiseConv): it reads frames, which only convolutions of all "
    "channels do",
    passes="pack-spikes",
)
def an_integer_depthwise_convolution_of_frames(net):
    codes = net.weights(C, 1, 1, 1)
    y = net.op("Conv", net.spikes(C), codes, group=C, name="conv")
    net.end(net.lif(y, name="lif"), channels=C)
    proto = as_integers(net)
    named(proto, "conv").input[0] = named(proto, "stem").input[0]
    return proto


@refused(
    "node 'conv' (ai.hqc::IntegerConv): its input's axes are [C T Y X], not those of an image, "
    "[T C Y X]",
    passes="pack-spikes",
)
def an_integer_convolution_of_turned_time(net):
    net.frames = (D, 1, C, H, W)
    y = net.op("Conv", net.spikes(), net.weights(D, D, 3, 3, bits=16), pads=[1] * 4, name="conv")
    net.end(net.lif(y))
    proto = as_integers(net)
    insert(proto, "conv", "Transpose", perm=[1, 0, 2, 3])
    return proto


@refused(
    "node 'stem' (ConvInteger): it reads frames as [T C Y X], which are [T C X Y]",
    hint="give frames [T, 1, C, H, W] to convolutions, or put neurons before the view",
    passes="pack-spikes",
)
def an_integer_convolution_of_turned_frames(net):
    net.frames = (T, 1, C, 4, 4)
    y = net.op("Conv", net.image(), net.weights(D, C, 3, 3), pads=[1] * 4, name="stem")
    net.end(net.lif(y))
    proto = as_integers(net)
    insert(proto, "stem", "Transpose", perm=[0, 1, 3, 2])
    return proto


@refused("node 'Abs_10' (Abs): there is no kernel for it", passes="pack-spikes")
def an_integer_op_without_a_kernel(net):
    net.end(net.lif(net.conv(net.spikes())))
    proto = as_integers(net)
    insert(proto, "conv", "Abs")
    return proto
