"""Files as exporters of all ages write them: data beside them, names of all kinds, old opsets."""

from __future__ import annotations

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from hqc.compiler import lower, pipeline_for
from hqc.dialect.metadata import LAYER
from hqc.errors import UserError
from hqc.frontend.load import load_model
from hqc.reference import run_reference
from hqc.targets import load_target


@pytest.fixture
def proto(tiny_model):
    return onnx.load(tiny_model)


@pytest.fixture
def expected(tiny_model, frames):
    return integers(load_model(tiny_model), frames)


@pytest.fixture
def frames(rng):
    return rng.poisson(1.0, (2, 1, 1, 4, 4)).astype(np.float32)


def saved(proto, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def integers(model, frames):
    stages = lower(model, pipeline_for(load_target("host")))
    return run_reference(stages.integer, {"frames": frames})[0]


def initializer(proto, name):
    return next(i for i in proto.graph.initializer if i.name == name)


@pytest.fixture
def with_data(proto, tmp_path):
    """A model whose tensors lie in a file beside it."""
    folder = tmp_path / "models"
    folder.mkdir()
    path = folder / "model.onnx"
    for tensor in proto.graph.initializer:  # numbers, not text, as exporters write them
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    onnx.save(
        proto,
        path,
        save_as_external_data=True,
        location="model.onnx.data",
        size_threshold=0,
        convert_attribute=True,
    )
    assert (folder / "model.onnx.data").stat().st_size > 0
    return path


@pytest.mark.parametrize("place", ["", "models", "elsewhere"])
def test_data_beside_the_model_is_found_from_anywhere(
    with_data, place, expected, frames, tmp_path, monkeypatch
):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / place)
    path = os.path.relpath(with_data)
    np.testing.assert_array_equal(integers(load_model(path), frames), expected)


def test_data_of_another_model_in_the_working_directory_is_not_read(
    with_data, expected, frames, tmp_path, monkeypatch
):
    (tmp_path / "elsewhere").mkdir()
    size = (with_data.parent / "model.onnx.data").stat().st_size
    (tmp_path / "elsewhere" / "model.onnx.data").write_bytes(bytes(size))
    monkeypatch.chdir(tmp_path / "elsewhere")
    np.testing.assert_array_equal(integers(load_model(with_data), frames), expected)


def test_missing_and_short_data(with_data):
    data = with_data.parent / "model.onnx.data"
    data.write_bytes(data.read_bytes()[:-3])
    with pytest.raises(UserError, match=r"'model.onnx.data', from byte \d+, \d+ of them; it has"):
        load_model(with_data)
    data.unlink()
    with pytest.raises(UserError, match=r"'model\.onnx\.data'.*No such file") as error:
        load_model(with_data)
    assert error.value.hint == "keep the data file beside the model, as exported"
    os.mkfifo(data)
    with pytest.raises(UserError, match="it is a pipe, not a file"):
        load_model(with_data)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("location", "../secret", "no file below the model's folder"),
        ("location", "a/../../secret", "no file below the model's folder"),
        ("location", "/etc/hostname", "no file below the model's folder"),
        ("location", "", "no file below the model's folder"),
        ("location", "\x00", "null byte"),
        ("location", ".", "Is a directory"),
        ("offset", "-1", "from byte -1"),
        ("offset", "many", "from byte many"),
        ("offset", str(2**70), "from byte 1180591620717411303424"),
        ("length", "-4", "-4 of them"),
        ("length", str(2**40), "1099511627776 of them"),
        ("length", "2", "does not hold the numbers of its shape"),
    ],
)
def test_wrong_places_of_data(with_data, key, value, message, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(10_000))
    proto = onnx.load(with_data, load_external_data=False)
    tensor = initializer(proto, "conv_w")
    next(e for e in tensor.external_data if e.key == key).value = value
    with_data.write_bytes(proto.SerializeToString())
    with pytest.raises(UserError, match=message) as error:
        load_model(with_data)
    assert "'conv_w'" in error.value.message


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ([2, 1, 3, 4], "'conv_w' does not hold the numbers of its shape"),
        ([2**40, 2**40], "'conv_w' does not hold the numbers of its shape"),
        ([-1, 18], "Negative dimension value"),
    ],
)
def test_tensors_that_do_not_fill_their_shape(proto, dims, message, tmp_path):
    tensor = initializer(proto, "conv_w")
    del tensor.dims[:]
    tensor.dims.extend(dims)
    with pytest.raises(UserError, match=message):
        load_model(saved(proto, tmp_path))


def test_initializers_that_are_inputs_too(proto, expected, frames, tmp_path):
    for tensor in reversed(proto.graph.initializer):
        value = helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        proto.graph.input.insert(0, value)
    model = load_model(saved(proto, tmp_path))
    assert [v.name for v in model.graph.inputs] == ["frames"]
    np.testing.assert_array_equal(integers(model, frames), expected)


def test_graphs_without_a_name(proto, expected, frames, tmp_path):
    proto.graph.name = ""
    np.testing.assert_array_equal(integers(load_model(saved(proto, tmp_path)), frames), expected)


@pytest.mark.parametrize("name", ["", "same", "a/b*/ \n\\ é??/", "out:out"])
def test_nodes_of_any_name_get_one_of_their_own(proto, name, expected, frames, tmp_path):
    for node in proto.graph.node:
        node.name = name
    model, again = (load_model(saved(proto, tmp_path)) for _ in range(2))
    names = [node.name for node in model.graph]
    assert len(set(names)) == len(names)
    assert names == [node.name for node in again.graph]
    if name:
        assert names[:3] == [name, f"{name}#2", f"{name}#3"]
    np.testing.assert_array_equal(integers(model, frames), expected)


def test_outputs_that_are_left_out_or_not_read(proto, expected, frames, tmp_path):
    pool = next(n for n in proto.graph.node if n.op_type == "MaxPool")
    pool.output.append("")
    for node in proto.graph.node:
        if node.input[0] == "logits" or node.op_type == "Conv":
            node.input.append("") if len(node.input) < 3 else None
    place = list(proto.graph.node).index(pool)
    proto.graph.node.insert(
        place, helper.make_node("Dropout", [pool.input[0]], ["same", "mask"], name="dropout")
    )
    model = load_model(saved(proto, tmp_path))
    np.testing.assert_array_equal(integers(model, frames), expected)


def test_messages_keep_the_users_names(proto, tmp_path):
    for node in proto.graph.node:
        node.name = "layer"
    pool = next(n for n in proto.graph.node if n.op_type == "MaxPool")
    pool.op_type = "LpPool"
    with pytest.raises(UserError, match=r"node 'layer#9': .*no integer lowering for LpPool"):
        lower(load_model(saved(proto, tmp_path)), pipeline_for(load_target("host")))


def test_layers_are_called_as_their_nodes_less_the_type(proto, tmp_path):
    names = {"Conv": "stem/Conv", "Gemm": "fc"}
    for node in proto.graph.node:
        node.name = names.get(node.op_type, node.name)
    proto.graph.node[-1].name = "fc/Gemm"
    model = load_model(saved(proto, tmp_path))
    layers = {n.name: n.metadata_props[LAYER] for n in model.graph if LAYER in n.metadata_props}
    assert layers["stem/Conv"] == "stem"
    assert layers["fc"] == "fc"
    assert layers["fc/Gemm"] == "fc/Gemm"  # `fc` is another layer


def test_initializers_named_as_what_passes_make(proto, expected, frames, tmp_path):
    """BatchNorm's factor is called `scale` in ONNX, and often so in models."""
    names = {"gamma": "bn.scale", "beta": "bn.shift", "head_b": "head.scale", "qkv_b": "sums.codes"}
    for tensor in proto.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in proto.graph.node:
        node.name = {"logits": "head"}.get(node.output[0], node.output[0])
        for i, value in enumerate(node.input):
            node.input[i] = names.get(value, value)
    np.testing.assert_array_equal(integers(load_model(saved(proto, tmp_path)), frames), expected)


def at_opset(proto, version):
    """The small network in an older opset: until 17, ReduceMean has its axes as an attribute."""
    next(e for e in proto.opset_import if e.domain == "").version = version
    mean = next(n for n in proto.graph.node if n.op_type == "ReduceMean")
    axes = numpy_helper.to_array(initializer(proto, mean.input.pop())).tolist()
    mean.attribute.append(helper.make_attribute("axes", axes))
    proto.ir_version = 7
    return proto


@pytest.mark.parametrize("version", range(11, 18))
def test_older_opsets_are_upgraded(proto, version, expected, frames, tmp_path):
    model = load_model(saved(at_opset(proto, version), tmp_path))
    assert model.opset_imports[""] == 21
    assert {"LIF", "QuantUniform", "QuantPow2"} <= {n.op_type for n in model.graph}
    np.testing.assert_array_equal(integers(model, frames), expected)


def test_an_op_that_the_old_opset_lacks_is_refused(proto, tmp_path):
    next(e for e in proto.opset_import if e.domain == "").version = 12
    with pytest.raises(UserError, match=r"not a valid model.*ReduceMean"):
        load_model(saved(proto, tmp_path))


FUNCTION = """
<opset_import: ["" : {version}, "ai.hqc" : 1], domain: "mine">
Fire <tau: float = 2.0> (x) => (y) {{
    same = Identity (x)
    y = ai.hqc.LIF <tau: float = @tau> (same)
}}
"""


def with_function(proto, version):
    proto.functions.append(parser.parse_function(FUNCTION.format(version=version)))
    proto.opset_import.append(helper.make_opsetid("mine", 1))
    neurons = next(n for n in proto.graph.node if n.op_type == "LIF")
    neurons.op_type, neurons.domain = "Fire", "mine"
    return proto


@pytest.mark.parametrize("version", [18, 21])
def test_functions_of_the_users_own_are_read(proto, version, expected, frames, tmp_path):
    model = load_model(saved(with_function(proto, version), tmp_path))
    np.testing.assert_array_equal(integers(model, frames), expected)


def test_functions_of_an_opset_that_differs_are_refused(proto, tmp_path):
    with pytest.raises(UserError, match="not compatible with the version imported by model"):
        load_model(saved(with_function(proto, 12), tmp_path))


def test_a_function_of_our_domain_that_we_do_not_know(proto, tmp_path):
    neurons = next(n for n in proto.graph.node if n.op_type == "LIF")
    neurons.op_type = "Izhikevich"
    with pytest.raises(UserError, match=r"ai\.hqc::Izhikevich, which has no body"):
        load_model(saved(proto, tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: setattr(t, "elem_type", TensorProto.UINT8), "is no float32 tensor"),
        (lambda t: t.ClearField("shape"), "Field 'shape' of 'type' is required"),
        (lambda t: setattr(t.shape.dim[0], "dim_value", -2), "dimension 'frames.0' .* no size"),
        (lambda t: setattr(t.shape.dim[0], "dim_value", 2**33), "not a valid model|2,147,483,647"),
    ],
)
def test_inputs_that_are_no_frames(proto, change, message, tmp_path):
    change(proto.graph.input[0].type.tensor_type)
    with pytest.raises(UserError, match=message):
        load_model(saved(proto, tmp_path))
