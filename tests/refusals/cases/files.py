"""Files: hqc/frontend/load.py, opsets.py and tensors.py."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, parser

from hqc.frontend.tensors import LARGEST_MODEL
from tests.refusals.case import Small, T, refused


def sound(net: Small) -> onnx.ModelProto:
    """A model to spoil."""
    net.end(net.spikes())
    return onnx.load(net.save(net.path))


@refused("?")
def a_text(net):
    return b"hello, world\n"


@refused("?")
def an_empty_file(net):
    return b""


@refused("?")
def a_node_that_reads_what_is_not_there(net):
    net.end(net.lif("nowhere"))


@refused("?")
def a_view_of_another_size(net):
    net.end(net.lif(net.view(net.image(), (T, 7, 3, 1))))


@refused("?")
def two_inputs(net):
    proto = sound(net)
    proto.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    return proto


@refused("?")
def frames_of_bytes(net):
    proto = sound(net)
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    return proto


def with_batch(net: Small) -> onnx.ModelProto:
    proto = sound(net)
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "batch"
    return proto


@refused("?")
def a_dimension_without_a_size(net):
    return with_batch(net)


@refused("?", bind={"bacth": 1, "batch": 1})
def a_size_of_no_dimension(net):
    return with_batch(net)


@refused("?")
def weights_that_are_not_finite(net):
    y = net.op("Mul", net.spikes(), net.constant([np.nan]), name="scaled")
    net.end(net.lif(y))


@refused("?")
def an_output_whose_size_depends_on_numbers(net):
    net.end(net.op("NonZero", net.spikes(), name="events"))


@refused("?")
def a_tensor_of_more_numbers_than_kernels_count(net):
    wide = net.op("Expand", net.spikes(), net.constant([2**28, 1, 4, 5], np.int64), name="wide")
    net.end(net.lif(wide))


@refused("?")
def an_opset_that_is_too_old(net):
    proto = sound(net)
    proto.opset_import[0].version = 10
    return proto


@refused("?")
def a_later_dialect(net):
    proto = sound(net)
    proto.opset_import[1].version = 2
    return proto


@refused("?")
def an_op_of_another_domain(net):
    proto = sound(net)
    node = proto.graph.node[-1]
    node.op_type, node.domain = "Readout", "com.acme"
    proto.opset_import.append(helper.make_opsetid("com.acme", 1))
    return proto


@refused("?")
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


@refused("?")
def data_outside_the_models_folder(net):
    return with_data(net, location="../data")


@refused("?")
def data_that_is_missing(net):
    return with_data(net, location="weights.bin")


@refused("?")
def data_that_is_cut_short(net):
    return with_data(net, offset=4, length=8)


@refused("?")
def data_of_more_bytes_than_a_model_may_have(net):
    proto = with_data(net)
    with (net.folder / "data").open("wb") as file:
        file.truncate(LARGEST_MODEL)
    return proto


@refused("?")
def a_tensor_that_does_not_fill_its_shape(net):
    net.head(net.mean(net.spikes(), [0, 2, 3]), 6, bias=[0.5, 0.25])
    proto = onnx.load(net.save(net.path))
    proto.graph.initializer[-1].dims[:] = [3]
    return proto
