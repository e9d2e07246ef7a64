"""Files: hqc/frontend/load.py, opsets.py, tensors.py and operands.py."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, parser

from hqc.dialect import DIALECT
from hqc.frontend.tensors import LARGEST_MODEL
from tests.refusals.case import C, D, H, Small, T, W, refused


def sound(net: Small) -> onnx.ModelProto:
    """A model to spoil."""
    net.end(net.spikes())
    return onnx.load(net.save(net.path))


@refused(
    "model.onnx is not an ONNX model, or is cut short (13 bytes)",
    hint="export it again; a file of another format: hqc import FILE -o model.onnx",
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
    "model.onnx: not a valid model: ...'nowhere'...",
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
    "model.onnx: opset 10 is not one of 11 to 25",
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
    "model.onnx: opset 13 cannot be brought to 21: ...BatchNormalization...",
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
    "model.onnx: its weights take more than 34,359,738,368 bytes",
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


EXPORT_AGAIN = "does the model run in onnxruntime? if not, export it again"


@refused(
    "model.onnx: node 'conv' (Conv): its bias [5] does not fit its output [2, 6, 4, 5]",
    hint=EXPORT_AGAIN,
)
def a_bias_for_other_channels(net):
    net.end(net.lif(net.conv(net.spikes(), bias=net.constant(np.ones(D - 1)))))


@refused(
    "model.onnx: node 'conv' (Conv): its bias [6, 1] does not fit its output [2, 6, 4, 5]",
    hint=EXPORT_AGAIN,
)
def a_bias_of_two_axes(net):
    net.end(net.lif(net.conv(net.spikes(), bias=net.constant(np.ones((D, 1))))))


@refused(
    "model.onnx: node 'head' (Gemm): its bias [3] does not fit its output [1, 2]",
    hint=EXPORT_AGAIN,
)
def a_classifiers_bias_for_other_classes(net):
    net.head(net.mean(net.spikes(), [0, 2, 3]), D, bias=np.ones(3))


@refused(
    "model.onnx: node 'lif' (ai.hqc::LIF): it has 2 inputs, not 1",
    hint=EXPORT_AGAIN,
)
def neurons_of_two_inputs(net):
    y = net.conv(net.spikes())
    net.end(net.op("LIF", y, y, domain=DIALECT, name="lif"))


def from_quantizer(net: Small, *scale: str, **attributes: object) -> None:
    """Weights [6, 3, 1, 1] of that quantizer."""
    inputs = net.constant(np.ones((D, C, 1, 1))), *scale
    codes = net.op("QuantUniform", *inputs, domain=DIALECT, bits=4, name="quant", **attributes)
    net.end(net.lif(net.op("Conv", net.image(), codes)))


@refused(
    "model.onnx: node 'quant' (ai.hqc::QuantUniform): it has 1 inputs, not 2",
    hint=EXPORT_AGAIN,
)
def a_quantizer_without_a_scale(net):
    from_quantizer(net)


@refused(
    "model.onnx: node 'quant' (ai.hqc::QuantUniform): axis 7 is none of [6, 3, 1, 1]",
    hint=EXPORT_AGAIN,
)
def a_quantizer_along_an_axis_that_there_is_not(net):
    from_quantizer(net, net.constant([1.0]), axis=7)


@refused(
    "model.onnx: node 'quant' (ai.hqc::QuantUniform): scales [4] are neither one number nor one "
    "for each of 6 channels",
    hint=EXPORT_AGAIN,
)
def a_quantizer_of_scales_for_other_channels(net):
    from_quantizer(net, net.constant(np.ones(4)))


@refused(
    "model.onnx: node 'quant' (ai.hqc::QuantUniform): it reads FLOAT and DOUBLE, not FLOAT",
    hint=EXPORT_AGAIN,
)
def a_quantizer_of_a_scale_in_double_precision(net):
    from_quantizer(net, net.constant([1.0], np.float64))


@refused(
    "model.onnx: node 'lif' (ai.hqc::LIF): it reads FLOAT16, not FLOAT",
    hint=EXPORT_AGAIN,
)
def neurons_in_half_precision(net):
    y = net.op("Cast", net.conv(net.spikes()), to=TensorProto.FLOAT16)
    net.end(net.op("Cast", net.lif(y, name="lif"), to=TensorProto.FLOAT))


@refused(
    "model.onnx: node 'quant' (ai.hqc::QuantUniform): it reads a single number",
    hint=EXPORT_AGAIN,
)
def a_quantizer_of_a_single_number(net):
    one = net.constant(1.0), net.constant(1.0)
    factor = net.op("QuantUniform", *one, domain=DIALECT, bits=4, name="quant")
    net.end(net.lif(net.op("Mul", net.spikes(), factor)))


@refused(
    "model.onnx: input 'frames' is no float32 tensor of known rank",
    hint="hqc compiles models of frames in float32, [T, 1, C, H, W]",
)
def frames_in_double_precision(net):
    proto = sound(net)
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    return proto


@refused(
    "model.onnx: node 'QuantUniform_0' (ai.hqc::QuantUniform): it reads a single number",
    hint=EXPORT_AGAIN,
)
def frames_of_a_single_number(net):
    net.frames = ()
    x = net.op("QuantUniform", "frames", net.constant([1.0]), domain=DIALECT, bits=8, signed=0)
    net.end(net.lif(net.conv(net.view(x, (1, 1, 1, 1)), (1, D))))


NO_RUN = "does it run by itself? onnxruntime.InferenceSession(file).run(None, frames)"


@refused("onnxruntime does not run the model 'small': ...'conv'...", hint=NO_RUN)
def a_convolution_of_other_channels(net):
    """Shape inference lets it through."""
    net.end(net.lif(net.conv(net.image(), (C + 4, D))))


@refused("onnxruntime does not run the model 'small': ...'conv'...", hint=NO_RUN)
def a_convolution_of_another_kernel_than_its_weights(net):
    net.end(net.lif(net.conv(net.spikes(), kernel_shape=[3, 3], pads=[1, 1, 1, 1])))


@refused("model.onnx: not a valid model: ...")
def an_attribute_whose_name_is_no_text(net):
    net.end(net.spikes())
    data = net.save(net.path).read_bytes()
    return data.replace(b"v_threshold", b"v_thresh\xf3ld", 1)
