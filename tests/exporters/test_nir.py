"""Dialect models as NIR: read back as they were, and run by other libraries to the same counts."""

from __future__ import annotations

import json
import subprocess

import nir
import numpy as np
import onnx
import pytest

from hqc.dialect import DIALECT
from hqc.errors import UserError
from hqc.exporters import Wanted, exporters, find_exporter
from hqc.frontend.load import load_model, prepared
from hqc.importers import Asked, find_importer
from tests.conftest import HQC, MODEL
from tests.importers.nir_graphs import DT, by_nirtorch, logits_of
from tests.networks import Network

T, C, H, W = 5, 3, 9, 7
D = 4


def drawn(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


class Net(Network):
    """Layers with names, as the tests below put them together."""

    def __init__(self, steps=T):
        super().__init__((steps, 1, C, H, W), classes=4)

    def conv(self, x, weight, *more, bits=4, name="conv", **attributes):
        codes = self.quantized(weight, bits) if bits else self.constant(weight)
        attributes = {"kernel_shape": weight.shape[2:], "name": name, **attributes}
        return self.op("Conv", x, codes, *map(self.constant, more), **attributes)

    def norm(self, x, channels, **attributes):
        numbers = drawn(4, channels, seed=3)
        numbers[3] = np.abs(numbers[3]) + 0.5
        return self.op("BatchNormalization", x, *map(self.constant, numbers), **attributes)

    def stem(self, **neurons):
        x = self.conv(self.input(), drawn(D, C, 3, 3), pads=[1] * 4)
        return self.lif(self.norm(x, D, name="norm"), name="lif", **{"v_threshold": 2.0, **neurons})

    def end(self, x, features, over=0, **attributes):
        """The mean over time of a linear layer's outputs."""
        y = self.op("Flatten", x, axis=1, name="flat")
        bias = self.constant(drawn(4, seed=9))
        weight = self.quantized(drawn(4, features, seed=8), 4)
        y = self.op("Gemm", y, weight, bias, transB=1, name="head")
        axes = self.constant([over], np.int64)
        self.op("ReduceMean", y, axes, keepdims=1, out="logits", name="mean", **attributes)


def folded(net):
    """Convolution, BatchNorm, neurons; a head of each step."""
    net.end(net.stem(), D * H * W)


def hard(net):
    """Neurons of all kinds of numbers."""
    x = net.stem(tau=3.7, decay_input=0, v_reset=0.3)
    x = net.conv(x, drawn(D, 1, 2, 3), drawn(D), group=D, strides=[2, 1], name="depthwise")
    x = net.lif(x, tau=float("inf"), decay_input=0, v_threshold=0.7, name="if")
    x = net.conv(x, drawn(D, D, 1, 1), bits=0, name="plain")
    x = net.lif(x, tau=1.0, v_threshold=-0.5, name="step")
    net.end(x, D * 4 * 5)


def pools(net):
    """Sums and means; the head behind the mean over time and positions."""
    x = net.op("AveragePool", net.stem(), kernel_shape=[2, 3], strides=[2, 1], name="average")
    x = net.conv(x, drawn(D, D, 2, 2), name="again")
    x = net.lif(x, name="fire")
    ones = np.ones((D, 1, 2, 2), np.float32)
    x = net.conv(x, ones, bits=2, group=D, name="sums")
    rates = net.mean(x, [0, 2, 3], name="rates")
    net.head(rates, D)


def residual(net):
    """Branches that join, one of them twice, and a classifier of mean spikes."""
    x = net.stem()
    y = net.conv(x, drawn(D, D, 3, 3), pads=[1] * 4, name="branch")
    y = net.norm(y, D, name="branch.norm")
    y = net.op("Add", y, x, name="add")
    y = net.op("Add", y, x, name="add again")
    y = net.lif(y, name="join")
    total = net.op("ReduceSum", y, net.constant([0], np.int64), keepdims=1, name="sum")
    pooled = net.op("GlobalAveragePool", total, name="pool")
    net.head(pooled, D, bias=drawn(4))


def scaled(net):
    """Numbers by channel that no layer takes in, and a product of a matrix with its bias."""
    x = net.op("Mul", net.stem(), net.constant(drawn(D, 1, 1)), name="scale")
    x = net.op("Flatten", x, axis=1, name="flat")
    x = net.op("MatMul", x, net.quantized(drawn(D * H * W, 6), 4, axis=1), name="matmul")
    x = net.op("Add", x, net.constant(drawn(6)), name="bias")
    x = net.lif(x, tau=2.0, v_threshold=0.5, name="fire")
    total = net.op("ReduceSum", x, net.constant([0], np.int64), keepdims=1, name="sum")
    net.op("MatMul", total, net.constant(drawn(6, 4)), out="logits", name="head")


NETS = {make.__name__: make for make in (folded, hard, pools, residual, scaled)}


def saved(make, path, steps=T):
    net = Net(steps)
    make(net)
    return load_model(net.save(path))


def exported(model, path, dt=None):
    find_exporter("nir").write(model, path, Wanted(dt))
    return path


def back(path):
    """The file as a dialect model, of the time steps and seconds that it says itself."""
    return prepared(path, find_importer(path).read(path, Asked()))


def frames_of(seed, steps=T):
    return np.random.default_rng(seed).integers(0, 9, (steps, C, H, W)).astype(np.float32)


@pytest.mark.parametrize("steps", [T, 1])
@pytest.mark.parametrize("name", NETS)
def test_a_round_trip_gives_the_same_logits(name, steps, tmp_path):
    model = saved(NETS[name], tmp_path / "net.onnx", steps)
    again = back(exported(model, tmp_path / "net.nir"))
    found = []
    for seed in range(8):
        frames = frames_of(seed, steps)
        (wanted,), (given,) = logits_of(model, frames), logits_of(again, frames)
        np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-4)
        found.append(wanted)
    assert np.std(found, 0).max() > 0.01, "it says nothing"


@pytest.mark.parametrize("name", NETS)
def test_another_library_gives_the_same_logits(name, tmp_path):
    """nirtorch, with norse's neurons: their outputs summed over time."""
    model = saved(NETS[name], tmp_path / "net.onnx")
    graph = nir.read(exported(model, tmp_path / "net.nir", DT), type_check=False)
    for seed in range(4):
        frames = frames_of(seed)
        (wanted,) = logits_of(model, frames)
        given = by_nirtorch(graph, frames).sum(0).reshape(1, -1)
        np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-4)


def test_a_round_trip_loses_nothing_of_neurons_names_and_codes(tmp_path):
    model = saved(hard, tmp_path / "net.onnx")
    again = back(exported(model, tmp_path / "net.nir"))

    def neurons(of):
        return {
            node.name: {key: value.value for key, value in node.attributes.items()}
            for node in of.graph
            if node.op_type == "LIF"
        }

    given, wanted = neurons(again), neurons(model)
    assert given.keys() == wanted.keys()
    for name, attributes in wanted.items():
        usual = {"tau": 2.0, "decay_input": 1, "v_reset": 0.0, "soft_reset": 0}
        if name == "step":  # without a memory
            usual["decay_input"] = attributes["decay_input"] = 0
        found, filled = {**usual, **given[name]}, {**usual, **attributes}
        assert np.float32(found.pop("tau")) == np.float32(filled.pop("tau"))
        assert found == {k: float(np.float32(v)) for k, v in filled.items()}

    def layers(of):
        found = {}
        for node in of.graph:
            if node.op_type in ("Conv", "Gemm"):
                producer = node.inputs[1].producer()
                quantized = producer is not None and producer.op_type == "QuantUniform"
                found[node.name] = producer.attributes["bits"].value if quantized else None
        return found

    assert layers(again) == layers(model) == {"conv": 4, "depthwise": 4, "plain": None, "head": 4}
    first = next(node for node in again.graph if node.op_type == "QuantUniform")
    assert first.inputs[0] is again.graph.inputs[0]
    assert again.graph.inputs[0].shape == model.graph.inputs[0].shape


@pytest.mark.parametrize("dt", [1e-3, 1e-4, 0.7, 3e-5])
def test_time_constants_are_the_same_number_of_steps_again(dt, tmp_path):
    for tau in np.random.default_rng(0).uniform(1, 50, 8).astype(np.float32):
        net = Net()
        net.end(net.stem(tau=float(tau)), D * H * W)
        path = exported(load_model(net.save(tmp_path / "net.onnx")), tmp_path / "net.nir", dt)
        (neurons,) = (node for node in back(path).graph if node.op_type == "LIF")
        assert np.float32(neurons.attributes["tau"].value) == tau


def test_powers_of_two_and_negative_norms_keep_their_codes(tmp_path):
    net = Net()
    weight, scale = net.constant(drawn(D, C, 3, 3)), net.constant(np.abs(drawn(D)) + 1)
    codes = net.op("QuantPow2", weight, scale, domain=DIALECT, bits=4, axis=0)
    x = net.op("Conv", net.input(), codes, kernel_shape=[3, 3], name="conv")
    net.end(net.lif(net.norm(x, D, name="norm"), name="lif"), D * (H - 2) * (W - 2))
    model = load_model(net.save(tmp_path / "net.onnx"))
    again = back(exported(model, tmp_path / "net.nir"))
    kinds = {node.op_type for node in again.graph}
    assert "QuantPow2" in kinds
    (wanted,), (given,) = logits_of(model, frames_of(0)), logits_of(again, frames_of(0))
    np.testing.assert_allclose(given, wanted, rtol=1e-4, atol=1e-4)


def refusal(make):
    return pytest.param(make, id=make.__name__)


def soft(net):
    """node 'lif' (ai.hqc::LIF): its neurons are reset by subtraction"""
    net.end(net.stem(soft_reset=1), D * H * W)


def max_pool(net):
    """node 'max' (MaxPool): NIR has no such node"""
    x = net.op("MaxPool", net.stem(), kernel_shape=[2, 2], strides=[2, 2], name="max")
    net.end(x, D * 4 * 3)


def one_side(net):
    """node 'padded' (Conv): NIR has as many zeros before an axis as behind it"""
    x = net.conv(net.stem(), drawn(D, D, 2, 2), pads=[0, 0, 1, 1], name="padded")
    net.end(net.lif(x), D * H * W)


def uncounted(net):
    """node 'average' (AveragePool): NIR's means count the zeros around"""
    x = net.op("AveragePool", net.stem(), kernel_shape=[3, 3], pads=[1] * 4, name="average")
    net.end(x, D * H * W)


def attention(net):
    """node 'scores' (MatMul): its weights are computed, or multiply across time steps"""
    x = net.view(net.stem(), (T, D, H * W))
    turned = net.op("Transpose", x, perm=[0, 2, 1])
    scores = net.lif(net.op("MatMul", x, turned, name="scores"))
    net.end(scores, D * D)


def tokens(net):
    """node 'tokens' (MatMul): it does not read all elements of a time step"""
    x = net.op("Transpose", net.view(net.stem(), (T, D, H * W)), perm=[0, 2, 1])
    x = net.op("MatMul", x, net.constant(drawn(D, 6)), name="tokens")
    net.end(net.lif(x), H * W * 6)


def viewed(net):
    """node 'conv2' (Conv): what it reads, [4, 9, 7] in NIR, is viewed as [4, 7, 9]"""
    x = net.op("Transpose", net.stem(), perm=[0, 1, 3, 2])
    net.end(net.lif(net.conv(x, drawn(D, D, 1, 1), name="conv2")), D * H * W)


def shifted(net):
    """node 'shift' (Add): it adds to what is no layer's output"""
    x = net.op("Add", net.stem(), net.constant(drawn(D, 1, 1)), name="shift")
    net.end(net.lif(x), D * H * W)


def rounded(net):
    """node 'round' (ai.hqc::QuantUniform): NIR has no quantizers between layers"""
    x = net.op(
        "QuantUniform", net.stem(), net.constant([0.5]), domain=DIALECT, bits=4, name="round"
    )
    net.end(x, D * H * W)


def by_step(net):
    """node 'steps' (Mul): its numbers differ by time step"""
    x = net.op("Mul", net.stem(), net.constant(drawn(T, 1, 1, 1)), name="steps")
    net.end(net.lif(x), D * H * W)


def product(net):
    """node 'square' (Mul): NIR multiplies by constants only"""
    x = net.stem()
    net.end(net.lif(net.op("Mul", x, x, name="square")), D * H * W)


def partly(net):
    """node 'rows' (ReduceMean): it takes some axes of [4, 9, 7]"""
    net.end(net.lif(net.mean(net.stem(), [3], keepdims=1, name="rows")), D * H)


def halved(net):
    """node 'half' (Gemm): its alpha and beta are not 1, or its input is transposed"""
    x = net.op("Flatten", net.stem(), axis=1)
    x = net.op("Gemm", x, net.constant(drawn(6, D * H * W)), transB=1, alpha=0.5, name="half")
    net.end(net.lif(x), 6)


def behind_the_mean(net):
    """node 'late' (ai.hqc::LIF): its first axis is not time"""
    net.head(net.lif(net.mean(net.stem(), [0, 2, 3]), tau=1.0, name="late"), D)


def of_other_means(net):
    """node 'both' (Add): what it adds up is not of one shape, or of different means"""
    x = net.stem()
    sums = (net.op(op, x, net.constant([0], np.int64)) for op in ("ReduceMean", "ReduceSum"))
    net.head(net.mean(net.op("Add", *sums, name="both"), [2, 3]), D)


def computed(net):
    """node 'conv2' (Conv): its bias is computed, or one of several rows"""
    x = net.stem()
    rates = net.view(net.mean(x, [0, 2, 3]), (D,))
    weight = net.constant(drawn(D, D, 1, 1))
    net.end(net.lif(net.op("Conv", x, weight, rates, name="conv2")), D * H * W)


def volume(net):
    """node 'conv3' (Conv): its window has 3 axes; NIR has 1 and 2"""
    x = net.view(net.stem(), (T, 1, D, H, W))
    net.end(net.lif(net.conv(x, drawn(2, 1, 1, 1, 1), name="conv3")), 2 * D * H * W)


REFUSED = (
    *(soft, max_pool, one_side, uncounted, attention, tokens),
    *(viewed, shifted, rounded, by_step, product, partly),
    *(halved, behind_the_mean, of_other_means, computed, volume),
)


@pytest.mark.parametrize("make", [refusal(make) for make in REFUSED])
def test_what_nir_has_not_is_refused_by_name(make, tmp_path):
    model = saved(make, tmp_path / "net.onnx")
    with pytest.raises(UserError) as raised:
        exported(model, tmp_path / "out" / "net.nir")
    assert make.__doc__ in raised.value.message
    assert not list(tmp_path.glob("out/*"))


def test_logits_of_each_step_are_refused(tmp_path):
    net = Net()
    x = net.op("Flatten", net.stem(), axis=1, name="flat")
    net.op("Gemm", x, net.constant(drawn(D * H * W, 4)), out="logits", name="head")
    proto = onnx.load(net.save(tmp_path / "net.onnx"))
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value = T
    onnx.save(proto, tmp_path / "net.onnx")
    with pytest.raises(UserError, match=r"'head' \(Gemm\): the logits are not a sum or a mean"):
        exported(load_model(tmp_path / "net.onnx"), tmp_path / "net.nir")


def test_the_command_line_converts(tmp_path):
    net = Net()
    folded(net)
    model = net.save(tmp_path / "net.onnx")
    out = tmp_path / "net.nir"

    def hqc(*arguments):
        command = [*HQC, "convert", *arguments, "-o", out]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    found = hqc(model, "--to", "nir", "--dt", "1e-3", "--json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout) == {"file": str(out), "format": "nir"}
    assert nir.read(out, type_check=False).metadata["dt"] == 1e-3
    out.unlink()
    assert hqc(MODEL, "--to", "nir").returncode == 2
    found = hqc(model, "--to", "nirr")
    assert found.returncode == 2
    assert "there is no format 'nirr'; did you mean 'nir'?" in found.stderr
    assert f"formats are: {', '.join(exporters())}" in found.stderr
    assert not out.exists()


def test_options_of_other_formats_are_refused(tmp_path):
    from hqc.exporters.exporter import Exporter

    plain = Exporter("plain", "a plain file", (), lambda model, path, wanted: None)
    with pytest.raises(UserError, match="--dt says nothing of a plain file"):
        plain.write(None, tmp_path / "x", Wanted(dt=1.0))
    assert not list(tmp_path.iterdir())
