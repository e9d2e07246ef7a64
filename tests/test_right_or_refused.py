"""Networks of kinds that a compiler gets wrong where one part assumes what another never said.

Each is compiled to what its floats say, layer by layer, or refused in words.
"""

from __future__ import annotations

import numpy as np
import pytest

import hqc
from hqc.compiler import Stages, lower, pipeline_for
from hqc.data.synthetic import frames_over_range
from hqc.dialect.facts import Facts
from hqc.errors import UnsupportedModelError
from hqc.frontend.load import load_model
from hqc.reference import run_reference
from hqc.targets import load_target
from hqc.verification import compare
from tests.networks import Network

T, C, H, W = 4, 2, 6, 5
PADS = [1, 1, 1, 1]


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def stages_of(network: Network, tmp_path) -> Stages:
    model = load_model(network.save(tmp_path / "small.onnx"))
    return lower(model, pipeline_for(load_target("host")))


def assert_right(network: Network, tmp_path, silent: tuple[str, ...] = ()) -> Stages:
    """Integers are what floats say, kernels are the integers, and neurons fire, but not always."""
    stages = stages_of(network, tmp_path)
    recordings = frames_over_range(stages.dialect)
    found = compare(stages, recordings, {}, "")
    assert found.unexplained == {}
    assert found.kernels_differ == 0
    assert found.recordings == len(recordings) > 0
    watched = {n.name: n.outputs[0].name for n in stages.integer.graph if n.op_type.endswith("LIF")}
    spikes = np.zeros(len(watched))
    for r in recordings:
        fired = run_reference(stages.integer, {"frames": r.frames}, list(watched.values()))[1:]
        spikes += [s.mean() / len(recordings) for s in fired]
    for name, rate in zip(watched, spikes, strict=True):
        assert name in silent or 0 < rate < 1, f"{name} tells nothing: it fires at {rate}"
    return stages


def one_layer(codes=None, bias=None, norm=None, threshold=2.0, **neurons) -> Network:
    """A convolution, neurons, and a head on their mean."""
    net = Network((T, 1, C, H, W))
    x = net.input()
    codes = codes or (lambda net: net.quantized(weights(8, C, 3, 3)))
    inputs = [x, codes(net), *([bias(net)] if bias else [])]
    y = net.op("Conv", *inputs, pads=PADS, kernel_shape=[3, 3], name="conv")
    y = norm(net, y) if norm else y
    spikes = net.lif(y, v_threshold=threshold, name="lif", **neurons)
    net.head(net.mean(spikes, [0, 2, 3]), 8)
    return net


BIAS = np.linspace(0.5, 2, 8)


@pytest.mark.parametrize(
    "bias",
    [
        lambda net: net.constant(BIAS),
        lambda net: net.quantized(BIAS),
        lambda net: net.op("Identity", net.constant(BIAS)),
        lambda net: net.op("Neg", net.op("Neg", net.quantized(BIAS))),
    ],
    ids=["constant", "quantized", "identity", "computed"],
)
def test_a_bias_counts_however_it_is_written(bias, tmp_path):
    assert_right(one_layer(bias=bias), tmp_path)


def test_a_bias_that_depends_on_the_input_is_refused(tmp_path):
    def of_frames(net):
        brightness = net.view(net.mean("frames", [0, 1, 2, 3, 4]), [1])
        return net.op("Expand", brightness, net.constant([8], np.int64))

    with pytest.raises(UnsupportedModelError, match=r"'ReduceMean_\d'.* is in floats"):
        stages_of(one_layer(bias=of_frames), tmp_path)


@pytest.mark.parametrize("bits", [2, 4, 8, 12, 16])
def test_unsigned_weights_keep_their_codes(bits, tmp_path):
    net = one_layer(lambda net: unsigned(net, bits), threshold=4.0)
    stages = assert_right(net, tmp_path)
    codes = stages.integer.graph.initializers["conv.codes"].const_value.numpy()
    assert (codes.min(), codes.max()) == (0, 2**bits - 1)


def unsigned(net: Network, bits: int) -> str:
    w = np.abs(weights(8, C, 3, 3))
    w.flat[0] = 0
    return net.quantized(w, bits=bits, signed=0, scale=float(w.max()) / (2**bits - 1))


def patches(bits: int | None, threshold: float, gain: float) -> Network:
    """Pixels of 0 to 255, or of 0 to 1, into large kernels, half of them negative."""
    net = Network((2, 1, 3, 16, 16))
    w = np.random.default_rng(0).uniform(0.5, 1, size=(8, 3, 16, 16)) / 768 * gain
    w[4:] *= -1
    x = net.input(1 / 255 if gain < 2000 else 1.0)
    codes = net.constant(w) if bits is None else net.quantized(w, bits)
    y = net.op("Conv", x, codes, strides=[16, 16], kernel_shape=[16, 16], name="patch")
    net.head(net.mean(net.lif(y, v_threshold=threshold, name="lif"), [0, 2, 3]), 8)
    return net


@pytest.mark.parametrize("bits", [8, 12, 16, None])
def test_thresholds_may_be_of_any_size(bits, tmp_path):
    """In float32, 16 and 12 bits neurons read potentials, which must reach their threshold."""
    assert_right(patches(bits, 300.0, 1000.0), tmp_path)


@pytest.mark.parametrize("threshold", [1e-3, 0.3, 1e5])
def test_thresholds_of_other_magnitudes(threshold, tmp_path):
    assert_right(patches(16, threshold, 3.3 * threshold), tmp_path)


def test_pixels_of_whole_numbers_into_a_float_layer(tmp_path):
    assert_right(patches(None, 60000.0, 1000.0 * 768), tmp_path)


def test_sums_of_16_bit_codes_do_not_overflow(tmp_path):
    stages = assert_right(patches(16, 0.3, 1.0), tmp_path)
    (sums,) = (n.outputs[0] for n in stages.integer.graph if n.name == "patch")
    assert Facts.of(sums).highest > 2**31


def test_compiled_code_adds_in_64_bits(tmp_path):
    path = patches(16, 0.3, 1.0).save(tmp_path / "patches.onnx")
    for target in ("host", "rv32imc"):
        found = hqc.verify(path, target)
        assert found.ok
        assert found.recordings > 3


def attention(factors: str, channels: int = 48, heads: int = 2) -> Network:
    """Attention of spikes, or where `factors` has its letter, of a sum of two layers' spikes."""
    net = Network((T, 1, C, H, W))
    x = net.input()

    def spikes(seed: int) -> str:
        w = net.quantized(weights(channels, C, 3, 3, seed=seed))
        y = net.op("Conv", x, w, pads=PADS, kernel_shape=[3, 3])
        return net.lif(net.view(y, (T, 1, channels, H, W)), v_threshold=0.7)

    def split(s: str) -> str:
        split = net.view(s, (T, 1, heads, channels // heads, H * W))
        return net.op("Transpose", split, perm=[0, 1, 2, 4, 3])

    parts = {}
    for seed, name in enumerate("qkv"):
        parts[name] = spikes(seed)
        if name in factors:
            parts[name] = net.op("Add", parts[name], spikes(seed + 10))
    q, k, v = (split(parts[name]) for name in "qkv")
    scores = net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 2, 4, 3]))
    y = net.op("Transpose", net.op("MatMul", scores, v), perm=[0, 1, 2, 4, 3])
    y = net.op("Mul", net.view(y, (T, 1, channels, H, W)), net.constant(0.05))
    y = net.lif(y, v_threshold=1.0, name="attention")
    net.head(net.mean(y, [0, 3, 4]), channels)
    return net


@pytest.mark.parametrize("factors", ["", "q", "k", "v", "qkv"])
def test_attention_may_read_sums_of_spikes(factors, tmp_path):
    assert_right(attention(factors), tmp_path)


def test_compiled_attention_reads_sums_of_spikes(tmp_path):
    path = attention("qkv").save(tmp_path / "attention.onnx")
    for target in ("host", "cortex-m4"):
        assert hqc.verify(path, target).ok


def test_frames_added_to_spikes(tmp_path):
    net = Network((3, 1, C, 6, 6))
    x = net.input(bits=4)
    y = net.op("Conv", x, net.quantized(weights(C, C, 3, 3)), pads=PADS, kernel_shape=[3, 3])
    y = net.op("Add", net.lif(y), x, name="sum")
    y = net.op("Conv", y, net.quantized(weights(8, C, 3, 3)), pads=PADS, kernel_shape=[3, 3])
    net.head(net.mean(net.lif(y), [0, 2, 3]), 8)
    path = net.save(tmp_path / "net.onnx")
    assert hqc.verify(path, "host").ok


@pytest.mark.parametrize(("height", "width"), [(4, 8), (4, 4)])
@pytest.mark.parametrize("op", ["Mul", "Add"])
def test_constants_along_tokens_are_not_taken_along_channels(height, width, op, tmp_path):
    """32 channels: with 32 tokens too, sizes alone do not tell the axes apart."""
    tokens = height * width
    net = Network((3, 1, 2, height, width))
    codes = net.quantized(weights(32, 2, 3, 3))
    s = net.lif(net.op("Conv", net.input(), codes, pads=PADS, kernel_shape=[3, 3]))
    s = net.op("Transpose", net.view(s, (3, 1, 32, tokens)), perm=[0, 1, 3, 2])
    numbers = net.constant(np.linspace(0.5, 2, tokens).reshape(tokens, 1))
    s = net.lif(net.op(op, s, numbers, name="scaled"))
    net.head(net.mean(s, [0, 2]), 32)
    assert_right(net, tmp_path)


@pytest.mark.parametrize("auto_pad", ["SAME_LOWER", "SAME_UPPER", "VALID"])
@pytest.mark.parametrize("strides", [[1, 1], [2, 3]])
def test_auto_pad_is_the_padding_that_it_stands_for(auto_pad, strides, tmp_path):
    net = Network((3, 1, C, 6, 7))
    codes = net.quantized(weights(8, C, 2, 4))
    s = net.lif(net.op("Conv", net.input(), codes, kernel_shape=[2, 4], auto_pad=auto_pad))
    s = net.op("MaxPool", s, kernel_shape=[2, 2], strides=strides, auto_pad=auto_pad)
    codes = net.quantized(weights(8, 8, 1, 1, seed=1))
    s = net.lif(net.op("Conv", s, codes, kernel_shape=[1, 1]))
    net.head(net.mean(s, [0, 2, 3]), 8)
    assert_right(net, tmp_path)


@pytest.mark.parametrize("tau", [7.0, 20.0, 30.0])
def test_leaks_that_are_rounded(tau, tmp_path):
    assert_right(one_layer(tau=tau), tmp_path)
    assert_right(one_layer(tau=tau, decay_input=0, threshold=9.0), tmp_path)


def batch_norm(gamma, variance):
    def norm(net: Network, y: str) -> str:
        parameters = [gamma, np.full(8, 0.3), np.zeros(8), variance]
        return net.op("BatchNormalization", y, *(net.constant(a) for a in parameters), name="norm")

    return norm


@pytest.mark.parametrize("variance", [-1.0, -1e-5])
def test_a_variance_below_zero_is_refused(variance, tmp_path):
    norm = batch_norm(np.ones(8), np.r_[np.ones(3), variance, np.ones(4)])
    with pytest.raises(UnsupportedModelError, match=r"'norm'.*variance of channel 3 is -"):
        stages_of(one_layer(norm=norm), tmp_path)


@pytest.mark.parametrize("gamma", [0.0, 1e-8, -1e-8, 1e-6, 1e-4, -1e3])
def test_a_channel_may_be_nearly_constant_or_loud(gamma, tmp_path):
    """The other channels keep all the precision that they have without it."""
    norm = batch_norm(np.r_[gamma, np.ones(7)], np.ones(8))
    stages = assert_right(one_layer(norm=norm), tmp_path)
    bound = max(stages_bound(stages))
    assert bound < 1e-3 * max(1, abs(gamma))


def stages_bound(stages: Stages) -> list[float]:
    from hqc.dialect.facts import read_bound

    (neurons,) = (n for n in stages.integer.graph if n.name == "lif")
    return read_bound(neurons.outputs[0]).reshape(-1).tolist()


def test_a_head_may_have_a_bias_finer_than_its_weights(tmp_path):
    net = Network((1, 1, C, 1, 1))
    codes = net.quantized(weights(8, C, 1, 1))
    s = net.lif(net.op("Conv", net.input(), codes, kernel_shape=[1, 1]), v_threshold=0.5)
    bias = np.random.default_rng(4).normal(0, 0.2, 4)
    net.head(net.mean(s, [0, 2, 3]), 8, bias, bits=2, scale=0.5)
    stages = assert_right(net, tmp_path)
    for seed in range(8):
        frames = np.random.default_rng(seed).integers(0, 4, (1, 1, C, 1, 1)).astype(np.float32)
        a, b = (run_reference(m, {"frames": frames})[0] for m in (stages.dialect, stages.integer))
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_potentials_that_convolutions_read_keep_16_bits(tmp_path):
    """A chain of convolutions without neurons between, and a membrane shortcut."""
    net = Network((T, 1, C, H, W))
    x = net.input()
    y = net.op("Conv", x, net.quantized(weights(16, C, 3, 3)), pads=PADS, kernel_shape=[3, 3])
    s = net.lif(y, v_threshold=2.0)
    y = net.op("Conv", s, net.quantized(weights(96, 16, 1, 1, seed=1)), kernel_shape=[1, 1])
    y = net.op(
        "Conv", y, net.quantized(weights(96, 1, 3, 3, seed=2)), group=96, pads=PADS,
        kernel_shape=[3, 3],
    )  # fmt: skip
    y = net.op("Conv", y, net.quantized(weights(16, 96, 1, 1, seed=3)), kernel_shape=[1, 1])
    spikes = net.lif(y, v_threshold=20.0, name="lif")
    net.head(net.mean(spikes, [0, 2, 3]), 16)
    stages = assert_right(net, tmp_path)
    assert max(stages_bound(stages)) < 20.0 * 2**-12
