"""Files: hqc/frontend/load.py, opsets.py and tensors.py."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, parser

from hqc.frontend.tensors import LARGEST_MODEL
from tests.refusals.case import D, H, Small, T, W, refused


def sound(net: Small) -> onnx.ModelProto:
    """A model to spoil."""
    net.end(net.spikes())
    return onnx.load(net.save(net.path))


@refused(
    "model.onnx is not an ONNX model, or is cut short (13 bytes)",
    hint="export it again, with hqc.frontend.export.export or torch.onnx.export",
)
def a_text(net):
    return b"hello, world\n"


@refused(
    "model.onnx holds no graph",
    hint="is it an ONNX model, and was it written whole?",
)
def an_empty_file(net):
    return b""


@refused(
    "model.onnx: not a valid model: ...'nowhere'...LIF_0...",
)
def a_node_that_reads_what_is_not_there(net):
    net.end(net.lif("nowhere"))


@refused(
    "model.onnx: not a valid model: ...fc...Incompatible dimensions...",
)
def a_layer_of_other_inputs(net):
    y = net.op("MatMul", net.tokens(), net.weights(D + 1, D), name="fc")
    net.end_of_tokens(net.lif(y))


@refused(
    "model.onnx: 2 inputs and 1 outputs",
    hint="hqc compiles models of one input, the frames, and one output, the logits",
)
def two_inputs(net):
    proto = sound(net)
    proto.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    return proto


@refused(
    "model.onnx: input 'frames' is no float32 tensor of known rank",
    hint="hqc compiles models of frames in float32, [T, 1, C, H, W]",
)
def frames_of_bytes(net):
    proto = sound(net)
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    return proto


def with_batch(net: Small) -> onnx.ModelProto:
    proto = sound(net)
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "batch"
    return proto


@refused(
    "model.onnx: dimension 'batch' of input 'frames' has no size",
    hint="give it one: --bind batch=1",
)
def a_dimension_without_a_size(net):
    return with_batch(net)


@refused(
    "--bind: the model has no dimension 'bacth' without a size",
    hint="those without one are: batch",
    bind={"bacth": 1, "batch": 1},
)
def a_size_of_no_dimension(net):
    return with_batch(net)


@refused(
    "model.onnx: 1 of 1 numbers in 'constant_4' are NaN or infinite (read by 'scaled')",
    hint="did training diverge? export an earlier checkpoint",
)
def weights_that_are_not_finite(net):
    y = net.op("Mul", net.spikes(), net.constant([np.nan]), name="scaled")
    net.end(net.lif(y))


@refused(
    "model.onnx: node 'events' (NonZero) has an output of unknown shape",
    hint="hqc needs static shapes, which no shape that the graph computes is",
)
def an_output_whose_size_depends_on_numbers(net):
    events = net.op("NonZero", net.spikes(), name="events")
    net.end(net.op("Cast", events, to=TensorProto.FLOAT), [1], 4)


@refused(
    "model.onnx: node 'wide' (Expand) has an output of [67108864, 2, 6, 4, 5], more than "
    "2,147,483,647 numbers",
    hint="hqc compiles networks for devices; are the sizes right?",
)
def a_tensor_of_more_numbers_than_kernels_count(net):
    wide = net.op("Expand", net.spikes(), net.constant([2**26, T, D, 4, 5], np.int64), name="wide")
    net.end(net.lif(wide), (0, 1, 3, 4))


@refused(
    "model.onnx: opset 10 is not one of 11 to 24",
    hint="export the model with opset_version=21",
)
def an_opset_that_is_too_old(net):
    proto = sound(net)
    proto.opset_import[0].version = 10
    return proto


@refused(
    "model.onnx: version 2 of ai.hqc; this hqc knows version 1",
    hint="upgrade hqc",
)
def a_later_dialect(net):
    proto = sound(net)
    proto.opset_import[1].version = 2
    return proto


@refused(
    "model.onnx: node 'head' is com.acme::Readout, which has no body",
    hint="write it in standard ONNX, or as QuantUniform, QuantPow2 or LIF of ai.hqc",
)
def an_op_of_another_domain(net):
    proto = sound(net)
    node = proto.graph.node[-1]
    node.op_type, node.domain = "Readout", "com.acme"
    proto.opset_import.append(helper.make_opsetid("com.acme", 1))
    return proto


@refused(
    "model.onnx: opset 13 cannot be brought to 21: BatchNormalization...",
    hint="export the model with opset_version=21",
)
def a_norm_of_an_old_opset_in_training_mode(net):
    """With the outputs that it had then, which later opsets lack."""
    numbers = [net.constant(np.ones(D)) for _ in range(4)]
    outputs = ["normalized", "mean", "var", "saved_mean", "saved_var"]
    y = net.conv(net.spikes())
    norm = helper.make_node("BatchNormalization", [y, *numbers], outputs, name="norm")
    net.nodes.append(norm)
    net.op("Identity", "normalized", out="logits")
    proto = onnx.load(net.save(net.path))
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, (T, D, H, W))
    proto.graph.output[0].CopyFrom(logits)
    proto.opset_import[0].version = 13
    return proto


@refused(
    "model.onnx: not a valid model: ...version 12 whereas model imports version 21...",
)
def a_function_of_another_opset(net):
    proto = sound(net)
    header = '<opset_import: ["" : 12], domain: "mine">'
    proto.functions.append(parser.parse_function(f"{header} Same (x) => (y) {{ y = Identity(x) }}"))
    proto.opset_import.append(helper.make_opsetid("mine", 1))
    mean = next(n for n in proto.graph.node if n.op_type == "Reshape")
    mean.op_type, mean.domain = "Same", "mine"
    del mean.input[1:]
    return proto


def with_data(net: Small, **place: object) -> onnx.ModelProto:
    """The bias of the classifier lies in a file, `data` unless it is said otherwise."""
    net.head(net.mean(net.spikes(), [0, 2, 3]), 6, bias=[0.5, 0.25])
    proto = onnx.load(net.save(net.path))
    tensor = next(i for i in proto.graph.initializer if i.name in proto.graph.node[-1].input)
    (net.folder / "data").write_bytes(tensor.raw_data)
    tensor.name, proto.graph.node[-1].input[2] = "bias", "bias"
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": "data"} | place).items():
        tensor.external_data.add(key=key, value=str(value))
    return proto


@refused(
    "model.onnx: the numbers of 'bias' are in '../data', which is no file below the model's folder",
    hint="export the model again, or put its data beside it",
)
def data_outside_the_models_folder(net):
    return with_data(net, location="../data")


@refused(
    "model.onnx: the numbers of 'bias' are in 'weights.bin': cannot read weights.bin: No such "
    "file or directory",
    hint="keep the data file beside the model, as exported",
)
def data_that_is_missing(net):
    return with_data(net, location="weights.bin")


@refused(
    "model.onnx: the numbers of 'bias' are in 'data', from byte 4, 8 of them; it has 8",
    hint="is the data file of this model, and was it copied whole?",
)
def data_that_is_cut_short(net):
    return with_data(net, offset=4, length=8)


@refused(
    "model.onnx: its weights take more than 2,147,483,647 bytes",
    hint="hqc compiles networks for devices; is it the right model?",
)
def data_of_more_bytes_than_a_model_may_have(net):
    proto = with_data(net)
    with (net.folder / "data").open("wb") as file:
        file.truncate(LARGEST_MODEL)
    return proto


@refused(
    "model.onnx: 'constant_8' does not hold the numbers of its shape, [3] of INT64",
    hint="was the model written whole?",
)
def a_tensor_that_does_not_fill_its_shape(net):
    net.head(net.mean(net.spikes(), [0, 2, 3]), 6, bias=[0.5, 0.25])
    proto = onnx.load(net.save(net.path))
    proto.graph.initializer[-1].dims[:] = [3]
    return proto
