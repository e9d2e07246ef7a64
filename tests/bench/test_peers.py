"""Peers compute the same network: their logits are those of onnxruntime in floats."""

from __future__ import annotations

import importlib.util

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from hqc.bench import counted_peer, peers
from hqc.bench.counted_peer import check_counted, count_peer, counted_peers
from hqc.bench.peer import find_peer
from hqc.bench.spikingjelly_eager import neuron_of
from hqc.bench.standard_model import folded_model
from hqc.bench.suite import fitted
from hqc.bench.suite.trained import SPIKFORMER, UNTRAINED
from hqc.bench.torch_graph import GraphModule
from hqc.compiler import recordings_for
from hqc.copies import copy_model
from hqc.dialect.lif import LIF
from hqc.errors import ToolError, UserError
from hqc.frontend.load import load_model
from hqc.models.spikformer import Spikformer
from hqc.reference import run_reference
from hqc.targets import load_target
from tests.conftest import ROOT
from tests.small_models import model_from, model_of

IN_FLOATS = [
    *("executorch-xnnpack", "openvino-fp32", "spikingjelly-eager"),
    *("tvm-fp32", "tvm-fp32-tiled"),
]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small network that fires in every layer, and its recordings."""
    torch.manual_seed(0)
    images = ROOT / "examples" / "cifar10" / "sample"
    frames = fitted.images(images, (2, 1, 3, 16, 16), 255)
    like = fitted.Like(UNTRAINED, SPIKFORMER)
    network = fitted.fit(Spikformer(3, dim=16, depth=1, heads=2), frames, like)
    file = fitted.write(network, frames, tmp_path_factory.mktemp("small"), "small")
    model = load_model(file)
    return model, [r.frames for r in recordings_for(file, model, None, 4)]


@pytest.mark.parametrize("name", IN_FLOATS)
def test_a_peer_gives_the_networks_logits(name, small):
    package = name.partition("-")[0]
    pytest.importorskip(package)
    model, frames = small
    wanted = [find_peer("onnxruntime-fp32")(model, frames)(x) for x in frames]
    assert len({logits.tobytes() for logits in wanted}) == len(frames)
    run = find_peer(name)(model, frames)
    # The second round finds nothing that the first left in the neurons.
    for _ in range(2):
        for x, logits in zip(frames, wanted, strict=True):
            np.testing.assert_allclose(run(x), logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("target", ["arm-a72", "rv64gc"])
def test_a_counted_peer_gives_the_networks_logits(target, small):
    model, (frames, *_) = small
    wanted = find_peer("onnxruntime-fp32")(model, [frames])(frames).reshape(-1)
    found = {n: count_peer(n, model, load_target(target), frames) for n in counted_peers()}
    assert list(found) == ["tvm-fp32", "tvm-fp32-tiled"]
    for counted in found.values():
        np.testing.assert_allclose(counted.logits, wanted, rtol=0, atol=1e-5)
        assert counted.logits_error == np.abs(counted.logits - wanted).max()
    loops, tiles = (counted.instructions for counted in found.values())
    assert loops > tiles > 0


def test_a_counted_peer_of_another_network_is_refused(small, monkeypatch):
    model, (frames, *_) = small
    other = copy_model(model)
    head = other.graph.initializers[other.graph[-1].inputs[2].name]
    head.const_value = ir.tensor(head.const_value.numpy() + np.float32(0.5))
    link = counted_peer._PEERS["tvm-fp32"]
    monkeypatch.setitem(counted_peer._PEERS, "tvm-fp32", lambda _, *rest: link(other, *rest))
    with pytest.raises(ToolError, match=r"the peer tvm-fp32 gives logits that are 0\.5 from"):
        count_peer("tvm-fp32", model, load_target("arm-a72"), frames)


def test_counted_peers_are_for_linux():
    with pytest.raises(UserError, match="target cortex-m7 has no Linux, which peers need"):
        check_counted(["tvm-fp32"], load_target("cortex-m7"))
    check_counted([], load_target("cortex-m7"))


def test_all_of_them_are_peers():
    assert {*IN_FLOATS, "onnxruntime-fp32", "onnxruntime-int8"} == set(peers())


def test_a_peer_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(UserError, match="the peer openvino-fp32 needs openvino") as raised:
        find_peer("openvino-fp32")
    assert raised.value.hint == "pip install openvino"
    with pytest.raises(UserError, match="needs torch, spikingjelly") as raised:
        find_peer("spikingjelly-eager")
    assert raised.value.hint == "pip install 'hqc[train]', pip install spikingjelly"


def test_folded_models_are_standard_onnx_without_functions(small):
    folded = folded_model(small[0])
    onnx.checker.check_model(folded, full_check=True)
    assert not folded.functions
    assert {node.domain for node in folded.graph.node} == {""}
    assert "BatchNormalization" not in {node.op_type for node in folded.graph.node}


ONE_OP = {
    "a clip without an upper bound": (
        "(float[2, 3, 4] x) => (float[2, 3, 4] y) <float low = {0.5}> { y = Clip (x, low) }"
    ),
    "a convolution along one axis": (
        "(float[2, 3, 8] x) => (float[2, 3, 4] y)"
        "<float[3, 1, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}> {"
        "y = Conv <group = 3, kernel_shape = [3], strides = [2], pads = [1, 1]> (x, w) }"
    ),
    "a product with transposed weights": (
        "(float[2, 3] x) => (float[2, 2] y) <float[3, 2] w = {1, 2, 3, 4, 5, 6}> {y = Gemm (x, w) }"
    ),
    "a reshape that keeps an axis": (
        "(float[2, 3, 4] x) => (float[2, 12] y) <int64[2] shape = {0, -1}> {"
        "y = Reshape (x, shape) }"
    ),
    "a pool that overlaps": (
        "(float[1, 2, 6, 6] x) => (float[1, 2, 3, 3] y) {"
        "y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x) }"
    ),
    "a sum over axes": (
        "(float[2, 3, 4] x) => (float[2] y) <int64[2] axes = {1, 2}> {"
        "y = ReduceSum <keepdims = 0> (x, axes) }"
    ),
    "parts of an axis, swapped": (
        "(float[2, 4] x) => (float[2, 4] y) {"
        "a, b = Split <axis = 1, num_outputs = 2> (x) y = Concat <axis = 1> (b, a) }"
    ),
    "BatchNormalization": (
        "(float[2, 2, 3] x) => (float[2, 2, 3] y)"
        "<float[2] w = {1, 2}, float[2] b = {3, 4}, float[2] m = {5, 6}, float[2] v = {7, 8}> {"
        "y = BatchNormalization <epsilon = 0.5> (x, w, b, m, v) }"
    ),
    "a quantizer of the input": (
        "(float[2, 3] x) => (float[2, 3] y) <float scale = {0.25}> {"
        "y = ai.hqc.QuantUniform <bits = 3, signed = 0> (x, scale) }"
    ),
}


@pytest.mark.parametrize("what", ONE_OP)
def test_ops_in_torch_are_those_of_onnx(what):
    model = model_from(f"one {ONE_OP[what]}")
    x = np.random.default_rng(0).normal(size=model.graph.inputs[0].shape.numpy())
    x = x.astype(np.float32)
    (wanted,) = run_reference(model, {"x": x})
    found = GraphModule(model.graph)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize(
    "nodes",
    [
        "y = Softmax (x)",
        "y = Gemm <alpha = 2.0> (x, x)",
        "y = MaxPool <kernel_shape = [3], pads = [0, 1]> (x)",
        "y = Cast <to = 7> (x)",
        "low = ReduceSum <keepdims = 0> (x, axes) y = Clip (x, low)",
    ],
)
def test_other_ops_are_refused_by_name(nodes):
    values = "(float[2, 3, 4] x) => (float[2, 3, 4] y) <int64[3] axes = {0, 1, 2}>"
    model = model_from(f"one {values} {{ {nodes} }}")
    with pytest.raises(
        UserError, match=f"peers in torch do not know this {model.graph[-1].op_type}"
    ):
        GraphModule(model.graph)


NEURONS = {
    "LIF": {},
    "LIF that adds its input": {"decay_input": 0, "tau": 1.5},
    "IF": {"tau": float("inf"), "decay_input": 0},
    "soft reset": {"soft_reset": 1, "v_threshold": 0.5},
}


@pytest.mark.parametrize("what", NEURONS)
def test_spikingjellys_neurons_fire_as_the_models_do(what):
    pytest.importorskip("spikingjelly")
    x = np.random.default_rng(1).normal(1, 2, (6, 1, 40)).astype(np.float32)
    model = model_of(LIF, [x], NEURONS[what], x)
    (wanted,) = run_reference(model, {"x0": x})
    assert 0.1 < wanted.mean() < 0.9
    assert (neuron_of(model.graph[0])(torch.from_numpy(x)).numpy() == wanted).all()


@pytest.mark.parametrize("attributes", [{"v_reset": 0.25}, {"tau": 1.0}])
def test_neurons_that_spikingjelly_does_not_have_are_refused(attributes):
    pytest.importorskip("spikingjelly")
    x = np.zeros((2, 1, 3), np.float32)
    with pytest.raises(UserError, match="SpikingJelly has no such neurons"):
        neuron_of(model_of(LIF, [x], attributes, x).graph[0])
