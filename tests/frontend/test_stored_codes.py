"""Weights in files are integer codes; what is loaded from them is the same network."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto

from hqc.dialect import find_op
from hqc.frontend.load import load_model
from hqc.frontend.save import save_model
from tests.conftest import MODEL, ROOT
from tests.networks import Network

TYPES = {
    (2, 1): TensorProto.UINT8, (2, 0): TensorProto.UINT8,
    (3, 1): TensorProto.INT4, (4, 0): TensorProto.UINT4, (4, 1): TensorProto.INT4,
    (5, 1): TensorProto.INT8, (8, 0): TensorProto.UINT8, (8, 1): TensorProto.INT8,
    (9, 1): TensorProto.INT16, (16, 0): TensorProto.UINT16, (16, 1): TensorProto.INT16,
}  # fmt: skip
"""What codes are stored as, by their bits and whether they are signed."""

CHANNELS = 5


def layer(path, op_type, **attributes):
    """A network of one layer of spikes that is quantized so; its weights, scale and file."""
    net = Network((2, 1, 3, 4, 4))
    rng = np.random.default_rng(attributes["bits"])
    weights = rng.normal(size=(CHANNELS, 3, 3, 3)).astype(np.float32)
    scale = rng.uniform(0.2, 0.9, CHANNELS).astype(np.float32) / 2 ** (attributes["bits"] - 2)
    inputs = net.constant(weights), net.constant(scale)
    codes = net.op(op_type, *inputs, domain="ai.hqc", name="codes", **attributes)
    spikes = net.lif(net.op("Conv", net.input(), codes, kernel_shape=[3, 3], name="conv"))
    net.head(net.mean(spikes, (0, 2, 3), keepdims=1), CHANNELS)
    return net.save(path), inputs[0], weights, scale


def described(graph):
    return [
        (n.name, n.op_type, [v.name for v in n.inputs], [v.name for v in n.outputs],
         find_op(n) and find_op(n).attributes(n), dict(n.metadata_props))
        for n in graph
    ]  # fmt: skip


def logits(path, frames, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"frames": frames})[0]


@pytest.mark.parametrize(
    ("op_type", "attributes"),
    [
        *(("QuantUniform", {"bits": b, "signed": s}) for b, s in TYPES),
        ("QuantUniform", {"bits": 4, "narrow": 1}),
        *(("QuantPow2", {"bits": b}) for b in (2, 3, 4)),
    ],
    ids=str,
)
def test_a_file_holds_codes_and_gives_the_quantizer_back(op_type, attributes, tmp_path, rng):
    path, name, weights, scale = layer(tmp_path / "floats.onnx", op_type, **attributes)
    before = load_model(path)
    save_model(before, tmp_path / "codes.onnx")
    proto = onnx.load(tmp_path / "codes.onnx")
    onnx.checker.check_model(proto, full_check=True)
    (stored,) = (i for i in proto.graph.initializer if i.name == name)
    assert stored.data_type == TYPES[attributes["bits"], attributes.get("signed", 1)]
    bits = max(attributes["bits"], 2) if attributes["bits"] != 3 else 4
    wide = {2: 2, 4: 4, 5: 8, 8: 8, 9: 16, 16: 16}[bits]
    assert len(stored.raw_data) == -(-weights.size * wide // 8)

    after = load_model(tmp_path / "codes.onnx")
    assert described(after.graph) == described(before.graph)
    loaded = after.graph.initializers[name].const_value.numpy()
    quantizer = next(n for n in after.graph if n.name == "codes")
    op = find_op(quantizer)
    rounded = op.reference(weights, scale, **op.attributes(quantizer)) + np.float32(0)
    assert loaded.tobytes() == rounded.tobytes()  # adding 0 makes zeros of either sign positive

    frames = rng.integers(0, 4, (2, 1, 3, 4, 4)).astype(np.float32)
    for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL"):
        level = getattr(onnxruntime.GraphOptimizationLevel, level)
        np.testing.assert_array_equal(
            logits(tmp_path / "codes.onnx", frames, level), logits(path, frames, level)
        )


@pytest.mark.parametrize("scale", [0.0, np.nan, 2e38], ids=str)
def test_weights_whose_codes_would_say_something_else_stay_floats(scale, tmp_path):
    path, name, *_ = layer(tmp_path / "floats.onnx", "QuantUniform", bits=4)
    model = ir.load(path)
    quantizer = next(n for n in model.graph if n.name == "codes")
    weights, scales = quantizer.inputs
    weights.const_value = ir.tensor(np.full(weights.shape.numpy(), 3e38, np.float32))
    scales.const_value = ir.tensor(np.full(CHANNELS, scale, np.float32))
    save_model(model, tmp_path / "saved.onnx")
    (kept,) = (i for i in onnx.load(tmp_path / "saved.onnx").graph.initializer if i.name == name)
    assert kept.data_type == TensorProto.FLOAT


def test_saving_leaves_the_model_as_it_was(tmp_path):
    model = load_model(MODEL)
    before = ir.serde.serialize_model(model).SerializeToString(deterministic=True)
    save_model(model, tmp_path / "again.onnx")
    assert ir.serde.serialize_model(model).SerializeToString(deterministic=True) == before


def test_weights_that_two_layers_read_are_stored_for_each(tmp_path):
    """And a layer that reads them as they are finds them so."""
    net = Network((2, 1, 3, 4, 4))
    weights = net.constant(np.random.default_rng(1).normal(size=(CHANNELS, 3, 1, 1)))
    image = net.input()
    made = []
    for bits in (2, 4):
        scale = net.constant([0.5])
        codes = net.op("QuantUniform", weights, scale, domain="ai.hqc", bits=bits)
        made.append(net.op("Conv", image, codes, kernel_shape=[1, 1]))
    made.append(net.op("Conv", image, weights, kernel_shape=[1, 1]))
    total = net.op("Add", net.op("Add", *made[:2]), made[2])
    net.head(net.mean(net.lif(total), (0, 2, 3), keepdims=1), CHANNELS)
    before = load_model(net.save(tmp_path / "floats.onnx"))
    save_model(before, tmp_path / "codes.onnx")
    after = load_model(tmp_path / "codes.onnx")
    frames = np.random.default_rng(2).integers(0, 4, (2, 1, 3, 4, 4)).astype(np.float32)
    level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    np.testing.assert_array_equal(
        logits(tmp_path / "codes.onnx", frames, level),
        logits(tmp_path / "floats.onnx", frames, level),
    )
    assert [n.op_type for n in after.graph] == [n.op_type for n in before.graph]


def test_the_examples_are_as_small_as_their_codes():
    """Files of 37 and 1 MB of floats once."""
    cifar10, nmnist = (ROOT / "examples" / n / "model.onnx" for n in ("cifar10", "nmnist"))
    assert cifar10.stat().st_size < 3.1e6
    assert nmnist.stat().st_size < 0.15e6
