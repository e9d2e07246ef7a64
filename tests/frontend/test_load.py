"""Loading: what is wrong with a file is said in one message, with where and what to do."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from hqc.compiler import lower, pipeline_for
from hqc.errors import UnsupportedModelError, UserError
from hqc.frontend.load import load_model, model_name
from hqc.reference import run_reference
from hqc.targets import load_target
from tests.conftest import MODEL
from tests.small_models import model_from


@pytest.fixture
def proto():
    return onnx.load(MODEL)


def saved(proto, tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(proto, path)
    return path


def test_truncated_file(tmp_path):
    path = tmp_path / "cut.onnx"
    path.write_bytes(MODEL.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"cut.onnx is not an ONNX model, or is cut short \(5000"):
        load_model(path)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n" + b"x" * 100, b"hello, world\n"])
def test_foreign_file(content, tmp_path):
    path = tmp_path / "foreign.onnx"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"foreign.onnx (is not an ONNX model|holds no graph)"):
        load_model(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        load_model(tmp_path / "none.onnx")
    with pytest.raises(UserError, match="Is a directory"):
        load_model(tmp_path)


@pytest.mark.parametrize("version", [10, 30])
def test_wrong_opset(proto, version, tmp_path):
    next(e for e in proto.opset_import if e.domain == "").version = version
    with pytest.raises(UserError, match=f"opset {version} is not one of 11 to 25") as error:
        load_model(saved(proto, tmp_path))
    assert error.value.hint == "export the model with opset_version=21"


def test_wrong_version_of_the_dialect(proto, tmp_path):
    next(e for e in proto.opset_import if e.domain == "ai.hqc").version = 2
    with pytest.raises(UserError, match=r"version 2 of ai.hqc; this hqc knows version 1"):
        load_model(saved(proto, tmp_path))


def test_unknown_op_of_a_foreign_domain(proto, tmp_path):
    proto.graph.node[3].domain = "com.acme"
    proto.opset_import.append(helper.make_opsetid("com.acme", 1))
    with pytest.raises(UnsupportedModelError, match=r"com\.acme::Conv, which has no body"):
        load_model(saved(proto, tmp_path))


def lowered(path):
    return lower(load_model(path), pipeline_for(load_target("host")))


def test_unsupported_op_is_named_with_where_to_look(proto, tmp_path):
    node = next(n for n in proto.graph.node if n.op_type == "MaxPool")
    kept = [a for a in node.attribute if a.name in ("kernel_shape", "strides", "pads")]
    node.op_type = "LpPool"
    del node.attribute[:]
    node.attribute.extend(kept)
    with pytest.raises(UnsupportedModelError) as error:
        lowered(saved(proto, tmp_path))
    assert "'tokenizer.0.pool/MaxPool'" in error.value.message
    assert "no integer lowering for LpPool" in error.value.message
    assert "hqc ops" in error.value.hint


def symbolic(proto):
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "batch"
    return proto


def test_unbound_dimension(proto, tmp_path):
    path = saved(symbolic(proto), tmp_path)
    with pytest.raises(UserError, match="dimension 'batch' of input 'frames' has no size") as error:
        load_model(path)
    assert error.value.hint == "give it one: --bind batch=1"


def test_bound_dimension_gives_the_same_model(proto, tmp_path, recordings):
    model = load_model(saved(symbolic(proto), tmp_path), {"batch": 1})
    feeds = {"frames": recordings[0].frames}
    expected = run_reference(load_model(MODEL), feeds)[0]
    np.testing.assert_array_equal(run_reference(model, feeds)[0], expected)


def test_binding_what_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no dimension 'batch'"):
        load_model(MODEL, {"batch": 1})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite(proto, bad, tmp_path):
    weight = next(i for i in proto.graph.initializer if i.name.endswith("proj.bn.weight"))
    array = numpy_helper.to_array(weight).copy()
    array[3] = bad
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    with pytest.raises(
        UserError, match=r"1 of 96 numbers in '.*proj.bn.weight' are NaN or inf"
    ) as e:
        load_model(saved(proto, tmp_path))
    assert "BatchNormalization" in e.value.message


def test_two_inputs(proto, tmp_path):
    proto.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    with pytest.raises(UnsupportedModelError, match="2 inputs and 1 outputs"):
        load_model(saved(proto, tmp_path))


def test_invalid_graph(proto, tmp_path):
    proto.graph.node[5].input[0] = "nowhere"
    with pytest.raises(UserError, match="not a valid model"):
        load_model(saved(proto, tmp_path))


def test_bad_attribute_names_the_node(proto, tmp_path):
    node = next(n for n in proto.graph.node if n.op_type == "LIF")
    next(a for a in node.attribute if a.name == "tau").f = 0.0
    with pytest.raises(UserError, match=f"node '{node.name}'.*tau is 0.0"):
        load_model(saved(proto, tmp_path))


def test_older_opsets_that_mean_the_same_are_taken(proto, tmp_path):
    next(e for e in proto.opset_import if e.domain == "").version = 18
    assert load_model(saved(proto, tmp_path)).opset_imports[""] == 21


@pytest.mark.parametrize(
    ("graph", "file", "name"),
    [("nmnist", "x.onnx", "nmnist"), ("main_graph", "My-Net.v2.onnx", "my_net_v2"),
     ("", "4bit.onnx", "m_4bit")],
)  # fmt: skip
def test_model_names_are_c_identifiers(graph, file, name):
    model = ir.Model(ir.Graph([], [], nodes=[], name=graph), ir_version=10)
    assert model_name(model, file) == name


REPEATED = """
repeated (float[1, 3, 4, 4] image) => (float[5, 1, 3, 4, 4] y)
<int64[1] first = {{0}}, int64[5] times = {{5, 1, 1, 1, 1}}, float scale = {{0.5}},
 float[3] scales = {{0.5, 1, 2}}>
{{
    {before}
    shown = Unsqueeze (x, first)
    frames = Tile (shown, times)
    y = ai.hqc.LIF <tau = 2.0, v_threshold = 1.0, v_reset = 0.0, soft_reset = 0, decay_input = 1>
        (frames)
}}
"""


def repeated(before, tmp_path):
    model = model_from(REPEATED.format(before=before))
    return load_model(saved(ir.serde.serialize_model(model), tmp_path))


def test_a_network_that_repeats_its_image_is_shown_frames(tmp_path):
    quantizer = f"x = ai.hqc.{QUANTIZER.format(axis=0, scale='scale')}"
    model = repeated(quantizer, tmp_path)
    assert [node.op_type for node in model.graph] == ["QuantUniform", "LIF"]
    assert model.graph.inputs[0].shape == [5, 1, 3, 4, 4]
    image = np.random.default_rng(0).normal(0, 3, (1, 3, 4, 4)).astype(np.float32)
    whole = model_from(REPEATED.format(before=quantizer))
    expected = run_reference(whole, {"image": image})[0]
    frames = np.repeat(image[None], 5, axis=0)
    np.testing.assert_array_equal(run_reference(model, {"image": frames})[0], expected)


QUANTIZER = "QuantUniform <bits = 8, signed = 1, narrow = 0, axis = {axis}> (image, {scale})"


def test_what_an_image_goes_through_before_it_is_repeated_is_done_at_each_step(tmp_path):
    model = repeated("x = Neg (image)", tmp_path)
    assert {n.op_type for n in model.graph} == {"Reshape", "Neg", "LIF"}
    assert model.graph.inputs[0].shape == [5, 1, 3, 4, 4]


def test_what_comes_after_other_layers_stays(tmp_path):
    model = repeated(f"x = ai.hqc.{QUANTIZER.format(axis=1, scale='scales')}", tmp_path)
    ops = ["Reshape", "QuantUniform", "Unsqueeze", "Tile", "LIF"]
    assert [n.op_type for n in model.graph] == ops
