"""Quant, BipolarQuant and Trunc become quantizers of the dialect, as QONNX's executor runs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import qonnx
import torch
from onnx import helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.custom_op.general.bipolar_quant import binary_quant
from qonnx.custom_op.general.quant import quant
from qonnx.custom_op.general.trunc import trunc_v1, trunc_v2
from qonnx.util.cleanup import cleanup_model
from torch import nn

from hqc.data.synthetic import frames_over_range
from hqc.errors import UnsupportedModelError, UserError
from hqc.exporters import Wanted, find_exporter
from hqc.frontend.load import load_model
from hqc.reference import ReferenceSession
from tests.importers.foreign import Foreign, compiles, quantizers, said, values
from tests.refusals.case import C, D

DOMAIN = "qonnx.custom_op.general"
MODELS = Path(qonnx.__file__).parent / "data" / "onnx"

ROUNDINGS = ["ROUND", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN", "half_even"]


class Net(Foreign):
    """A network to which QONNX's ops can be added."""

    def quant(self, x: str, scale: object, zero: object, bits: object, **attributes) -> str:
        """A Quant, signed and not narrow unless it is said otherwise."""
        given = (self.constant(n) for n in (scale, zero, bits))
        attributes = {"name": "w", "signed": 1, "narrow": 0, "domain": DOMAIN, **attributes}
        return self.op("Quant", x, *given, **attributes)

    def drawn(self, *shape: int) -> np.ndarray:
        """Seeded numbers, and multiples of a quarter, at which roundings differ."""
        numbers = np.random.default_rng(5).normal(size=shape).astype(np.float32) * 4
        numbers.flat[::2] = np.round(numbers.flat[::2] * 4) / 4
        return numbers

    def written(self, version: int = 1) -> Path:
        """The file."""
        path = self.save(self.path)
        proto = onnx.load(path)
        proto.opset_import.append(helper.make_opsetid(DOMAIN, version))
        onnx.save(proto, path)
        return path


@pytest.fixture
def net(tmp_path) -> Net:
    return Net(tmp_path)


def end(net: Net, weights: str, x: str = "") -> None:
    """A network of a convolution with these weights."""
    net.end(net.lif(net.op("Conv", x or net.image(), weights, name="conv"), v_threshold=0.5))


def f32(*arrays: object) -> list[np.ndarray]:
    return [np.asarray(a, np.float32) for a in arrays]


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("narrow", [0, 1])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_weights_are_rounded_as_qonnx_rounds_them(net, rounding, signed, narrow, bits):
    if bits == 1 and narrow and not signed:
        pytest.skip("nothing but zeros")
    drawn = net.drawn(D, C, 3, 3)
    scale = np.linspace(0.25, 1, D, dtype=np.float32).reshape(-1, 1, 1, 1)
    how = {"signed": signed, "narrow": narrow, "rounding_mode": rounding}
    end(net, net.quant(net.constant(drawn), scale, 0, bits, **how))
    made = quantizers(load_model(net.written()))["w"]
    expected = quant(drawn, *f32(scale, 0, bits), signed, narrow, rounding)
    assert np.array_equal(values(made), expected)


@pytest.mark.parametrize("zero", [0, 2, 5])
@pytest.mark.parametrize("signed", [0, 1])
def test_zero_points_of_weights(net, zero, signed):
    drawn = net.drawn(D, C, 1, 1)
    end(net, net.quant(net.constant(drawn), 0.5, zero, 4, signed=signed))
    made = quantizers(load_model(net.written()))["w"]
    assert np.array_equal(values(made), quant(drawn, *f32(0.5, zero, 4), signed, 0, "ROUND"))
    compiles(net.path)


@pytest.mark.parametrize("domain", [DOMAIN, "onnx.brevitas", "finn.custom_op.general"])
@pytest.mark.parametrize("op_type", ["Quant", "IntQuant"])
def test_names_of_the_op(net, domain, op_type):
    end(net, net.quant(net.constant(net.drawn(D, C, 1, 1)), 0.5, 0, 4, domain=domain))
    net.nodes[
        -1 - next(i for i, n in enumerate(net.nodes[::-1]) if n.domain == domain)
    ].op_type = op_type
    proto = onnx.load(net.written())
    if domain != DOMAIN:
        proto.opset_import.append(helper.make_opsetid(domain, 1))
    onnx.save(proto, net.path)
    attributes = said(quantizers(load_model(net.path))["w"])
    assert attributes == {"bits": 4, "signed": 1, "narrow": 0, "axis": 0}


def test_the_bit_width_that_a_file_names_is_kept(net):
    end(net, net.quant(net.constant(net.drawn(D, C, 1, 1)), 2.0, 0, 8, narrow=1))
    attributes = said(quantizers(load_model(net.written()))["w"])
    assert attributes == {"bits": 8, "signed": 1, "narrow": 1, "axis": 0}


def test_powers_of_two_are_stored_as_such(net):
    drawn = np.random.default_rng(1).choice([0, 0.5, -1, 2, 4, -8, 16, 32], (D, C, 1, 1))
    end(net, net.quant(net.constant(drawn), 0.5, 0, 8))
    made = quantizers(load_model(net.written()))["w"]
    assert (made.op_type, said(made)["bits"]) == ("QuantPow2", 4)
    assert np.array_equal(values(made), drawn.astype(np.float32))


def test_bipolar_weights(net):
    drawn, scale = net.drawn(D, C, 1, 1), np.linspace(0.1, 1, D).reshape(-1, 1, 1, 1)
    given = net.constant(drawn), net.constant(scale)
    end(net, net.op("BipolarQuant", *given, domain=DOMAIN, name="w"))
    made = quantizers(load_model(net.written()))["w"]
    assert np.array_equal(values(made), binary_quant(drawn, *f32(scale)))
    assert said(made)["bits"] == 2
    compiles(net.path)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_truncated_weights(net, rounding):
    drawn = net.drawn(D, C, 1, 1)
    given = [net.constant(n) for n in (drawn, 0.25, 0, 6, 4)]
    end(net, net.op("Trunc", *given, domain=DOMAIN, name="w", rounding_mode=rounding))
    made = quantizers(load_model(net.written()))["w"]
    assert np.array_equal(values(made), trunc_v1(drawn, *f32(0.25, 0, 6, 4), rounding))


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_truncated_weights_of_the_second_version(net, rounding):
    drawn = net.drawn(D, C, 1, 1)
    given = [net.constant(n) for n in (drawn, 0.25, 0, 6, 1, 4)]
    how = {"rounding_mode": rounding, "signed": 1, "narrow": 1}
    end(net, net.op("Trunc", *given, domain=DOMAIN, name="w", **how))
    made = quantizers(load_model(net.written(2)))["w"]
    numbers = f32(0.25, 0, 6)
    expected = trunc_v2(drawn, *numbers, 1, 1, *f32(1, 4), rounding)
    assert np.array_equal(values(made), expected)


def run(path: Path, frames: np.ndarray) -> np.ndarray:
    """What QONNX's executor gives."""
    model = ModelWrapper(str(path))
    return execute_onnx(model, {model.graph.input[0].name: frames})[model.graph.output[0].name]


SPELLINGS = [(8, 0, 0), (8, 1, 0), (8, 1, 1), (6, 0, 1), (4, 1, 0), (1, 0, 0), (16, 0, 0)]


@pytest.mark.parametrize(("bits", "signed", "narrow"), SPELLINGS)
def test_the_input_over_its_whole_range(net, bits, signed, narrow):
    """Compared number by number, multiples of half a unit beyond both ends among them."""
    x = net.quant("frames", 0.5, 0, bits, signed=signed, narrow=narrow, name="q")
    net.op("Reshape", x, net.constant([1, -1], np.int64), out="logits")
    net.classes = int(np.prod(net.frames))
    model = load_model(net.written())
    most = 2**bits
    frames = np.linspace(-most, most, net.classes, dtype=np.float32).reshape(net.frames)
    frames = np.round(frames * 4) / 4
    (found,) = ReferenceSession(model).run({"frames": frames})
    expected = quant(frames, *f32(0.5, 0, bits), signed, narrow, "ROUND")
    assert np.array_equal(found, expected.reshape(1, -1))


def test_spikes_stay_spikes(net):
    x = net.quant(net.spikes(), 1.0, 0, 1, signed=0, name="q")
    net.end(net.lif(net.conv(x, name="second")))
    assert "q" not in quantizers(load_model(net.written()))
    compiles(net.path)


REFUSED: dict[str, tuple[str, Callable[[Net], None]]] = {}


def refused(message: str) -> Callable[[Callable[[Net], None]], Callable[[Net], None]]:
    """Register a network, and what is said of it."""

    def register(write: Callable[[Net], None]) -> Callable[[Net], None]:
        REFUSED[write.__name__] = message, write
        return write

    return register


@refused("node 'q' (qonnx.custom_op.general::Quant): it quantizes an activation inside")
def potentials(net):
    net.end(net.lif(net.quant(net.conv(net.image(), (C, D)), 0.1, 0, 8, name="q")))


@refused("node 'q' (qonnx.custom_op.general::Quant): it rounds the frames otherwise than")
def an_input_that_is_rounded_down(net):
    end(net, net.weights(D, C, 1, 1), first(net, rounding_mode="FLOOR"))


@refused("node 'q' (qonnx.custom_op.general::Quant): it rounds the frames otherwise than")
def an_input_with_a_zero_point(net):
    end(net, net.weights(D, C, 1, 1), first(net, zero=3))


@refused("its rounding mode is STOCHASTIC")
def an_unknown_rounding(net):
    end(net, net.quant(net.constant(net.drawn(D, C, 1, 1)), 1, 0, 4, rounding_mode="STOCHASTIC"))


@refused("its bit width is 2.5")
def part_of_a_bit(net):
    end(net, net.quant(net.constant(net.drawn(D, C, 1, 1)), 1, 0, 2.5))


@refused("its zero point is no whole number")
def part_of_a_zero_point(net):
    end(net, net.quant(net.constant(net.drawn(D, C, 1, 1)), 1, 0.5, 4))


@refused("it has 1 operands, not 3")
def a_quantizer_without_bits(net):
    given = net.constant(net.drawn(D, C, 1, 1)), net.constant(1.0)
    end(net, net.op("Quant", *given, domain=DOMAIN, name="w"))


@refused("its scale is computed")
def a_computed_scale(net):
    given = net.op("ReduceMax", "frames", keepdims=0), net.constant(0), net.constant(4)
    end(net, net.op("Quant", net.constant(net.drawn(D, C, 1, 1)), *given, domain=DOMAIN, name="w"))


@refused("node 'w' is qonnx.custom_op.general::MultiThreshold, which has no body")
def another_op(net):
    net.end(net.lif(net.op("MultiThreshold", net.spikes(), domain=DOMAIN, name="w")))


def first(net: Net, zero: int = 0, **attributes) -> str:
    """The quantized input, an image."""
    image = net.view("frames", (net.frames[0], *net.frames[2:]))
    return net.quant(image, 0.5, zero, 8, name="q", **attributes)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named(net, name):
    message, write = REFUSED[name]
    write(net)
    with pytest.raises(UnsupportedModelError) as error:
        load_model(net.written())
    assert message in error.value.message
    assert error.value.hint


class Spikes(nn.Module):
    """Neurons without a memory."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x >= 1.0).float()


def trained(**how) -> nn.Module:
    """A network of Brevitas' layers, its scales fitted to noise."""
    import brevitas.nn as qnn
    from brevitas.quant import Int8ActPerTensorFixedPoint

    torch.manual_seed(0)
    net = nn.Sequential(
        qnn.QuantIdentity(bit_width=8, act_quant=Int8ActPerTensorFixedPoint),
        qnn.QuantConv2d(2, 8, 3, padding=1, weight_bit_width=4, **how),
        nn.BatchNorm2d(8),
        Spikes(),
        qnn.QuantConv2d(8, 8, 3, padding=1, bias=False, weight_bit_width=3, **how),
        nn.BatchNorm2d(8),
        Spikes(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        qnn.QuantLinear(8, 5, bias=True, weight_bit_width=8, **how),
    )
    for _ in range(3):
        net(torch.randn(4, 2, 6, 6) * 3)
    return net.eval()


@pytest.mark.parametrize("by_channel", [False, True])
@pytest.mark.parametrize("form", ["export_qonnx", "export_onnx_qcdq"])
def test_networks_that_brevitas_exports(tmp_path, form, by_channel):
    pytest.importorskip("brevitas")
    pytest.importorskip("onnxoptimizer", reason="Brevitas' exporters need it")
    import brevitas.export
    from brevitas.quant import Int8WeightPerChannelFloat, Int8WeightPerTensorFloat

    kind = Int8WeightPerChannelFloat if by_channel else Int8WeightPerTensorFloat
    net, path = trained(weight_quant=kind), tmp_path / "net.onnx"
    getattr(brevitas.export, form)(net, torch.randn(1, 2, 6, 6), export_path=str(path))
    model = load_model(path)
    bits = [said(node)["bits"] for node in quantizers(model).values()]
    assert sorted(bits) == [3, 4, 8, 8]
    ours = ReferenceSession(model)
    for recording in frames_over_range(model):
        (found,) = ours.run({model.graph.inputs[0].name: recording.frames})
        with torch.no_grad():
            expected = net(torch.from_numpy(recording.frames[:, 0])).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    compiles(path)


def test_a_domain_that_a_file_does_not_import(net):
    """As in models that QONNX ships."""
    end(net, net.quant(net.constant(net.drawn(D, C, 1, 1)), 0.5, 0, 4))
    assert said(quantizers(load_model(net.save(net.path)))["w"])["bits"] == 4


SHIPPED = {
    "bsd300x3-espcn/subpixel/quant_model.onnx": "it quantizes an activation inside the network",
    "bsd300x3-espcn/nn_resize/quant_model.onnx": "it quantizes an activation inside the network",
    "eltwise_chanlast_testcase.onnx": "opset 9 is not one of",
    "floatquant_exec/qonnx_act_weight_fp8.onnx": "FloatQuant, which has no body",
}


@pytest.mark.parametrize("name", SHIPPED)
def test_no_model_that_qonnx_ships_has_spikes(name):
    with pytest.raises(UserError, match=SHIPPED[name]):
        load_model(MODELS / name)


def test_a_model_that_qonnx_cleans(net):
    """What hqc writes, neurons and all, is what hqc reads after it was cleaned."""
    net.end(net.spikes())
    written = net.folder / "qonnx.onnx"
    expected = load_model(net.save(net.path))
    find_exporter("qonnx").write(expected, written, Wanted())
    cleaned = cleanup_model(ModelWrapper(str(written)))
    cleaned.save(str(written))
    found = load_model(written)
    for recording in frames_over_range(expected):
        x = recording.frames
        (a,) = ReferenceSession(expected).run({expected.graph.inputs[0].name: x})
        (b,) = ReferenceSession(found).run({found.graph.inputs[0].name: x})
        np.testing.assert_array_equal(b, a)
        np.testing.assert_allclose(run(written, x), a, rtol=1e-5)
    assert [n.op_type for n in found.graph].count("LIF") == 1
    assert {said(n)["bits"] for n in quantizers(found).values()} == {4, 8}
