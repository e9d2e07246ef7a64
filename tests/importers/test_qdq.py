"""QuantizeLinear and DequantizeLinear become quantizers of the dialect, exactly, or are refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto as Type
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from hqc.errors import UnsupportedModelError
from hqc.frontend.load import load_model
from tests.importers.foreign import Foreign, compiles, quantizers, said, same, values
from tests.refusals.case import C, D

KINDS = {
    Type.INT2: (-2, 1),
    Type.UINT2: (0, 3),
    Type.INT4: (-8, 7),
    Type.UINT4: (0, 15),
    Type.INT8: (-128, 127),
    Type.UINT8: (0, 255),
    Type.INT16: (-(2**15), 2**15 - 1),
    Type.UINT16: (0, 2**16 - 1),
}


def drawn(kind: int, *shape: int) -> np.ndarray:
    """Seeded codes of a type, both ends among them."""
    low, high = KINDS[kind]
    codes = np.random.default_rng(3).integers(low, high + 1, shape)
    codes.flat[:2] = low, high
    return codes


def conv(net: Foreign, weights: str, x: str = "", **attributes) -> None:
    """A network of a convolution with these weights."""
    y = net.op("Conv", x or net.image(), weights, name="conv", **attributes)
    net.end(net.lif(y, v_threshold=0.5))


@pytest.fixture
def net(tmp_path) -> Foreign:
    return Foreign(tmp_path)


def saved(net: Foreign, opset: int | None = None):
    path = net.save(net.path)
    if opset is not None:
        proto = onnx.load(path)
        next(e for e in proto.opset_import if not e.domain).version = opset
        onnx.save(proto, path)
    return path


@pytest.mark.parametrize("kind", KINDS, ids=Type.DataType.Name)
@pytest.mark.parametrize("axis", [None, 0], ids=["one scale", "by channel"])
def test_codes_and_scales_are_kept(net, kind, axis):
    codes = drawn(kind, D, C, 1, 1)
    scale = np.float32(0.003) if axis is None else np.linspace(0.001, 0.02, D, dtype=np.float32)
    given = {} if axis is None else {"axis": axis}
    conv(net, net.dequantized(codes, scale, kind=kind, **given))
    is_new = kind in (Type.INT2, Type.UINT2)
    path = saved(net, 25 if is_new else None)
    model = load_model(path) if is_new else same(path)
    made = quantizers(model)["w"]
    assert np.array_equal(made.inputs[1].const_value.numpy(), np.reshape(scale, -1))
    by_channel = scale if axis is None else scale.reshape(-1, 1, 1, 1)
    assert np.array_equal(values(made), codes.astype(np.float32) * by_channel)
    width = {2: 2, 4: 4, 8: 8, 16: 16}[int("".join(filter(str.isdigit, Type.DataType.Name(kind))))]
    signed = codes.min() < 0
    wider = {2: 4, 4: 8, 8: 16, 16: 16}[width]  # unsigned codes that fill their type
    assert said(made)["bits"] == (width if signed else wider)


@pytest.mark.parametrize("zero", [3, [0, 1, 2, 120, 7, 255]], ids=["one", "by channel"])
def test_zero_points_of_weights(net, zero):
    codes = drawn(Type.UINT8, D, C, 1, 1)
    scale = [0.01] * D if np.ndim(zero) else 0.01
    conv(net, net.dequantized(codes, scale, zero, Type.UINT8, axis=0))
    made = quantizers(same(saved(net)))["w"]
    codes = codes - np.reshape(zero, (-1, 1, 1, 1))
    assert np.array_equal(values(made), codes.astype(np.float32) * np.float32(0.01))
    compiles(net.path)


def test_codes_take_no_more_bits_than_they_need(net):
    conv(net, net.dequantized(drawn(Type.INT4, D, C, 1, 1), 0.1))
    assert said(quantizers(same(saved(net)))["w"])["bits"] == 4


def test_powers_of_two_are_stored_as_such(net):
    codes = np.random.default_rng(1).choice([0, 1, -2, 4, 8, -16, 32, 64], (D, C, 1, 1))
    conv(net, net.dequantized(codes, 0.02))
    made = quantizers(same(saved(net)))["w"]
    assert (made.op_type, said(made)["bits"]) == ("QuantPow2", 4)
    compiles(net.path)


def test_powers_of_two_that_are_no_smaller_stay_uniform(net):
    conv(net, net.dequantized(np.resize([1, 2, -4, 0], (D, C, 1, 1)), 0.02))
    assert quantizers(same(saved(net)))["w"].op_type == "QuantUniform"


def test_scales_below_zero_and_of_zero(net):
    scale = np.array([0.1, -0.2, 0.0, 0.4, -0.5, 0.6], np.float32)
    conv(net, net.dequantized(drawn(Type.INT4, D, C, 1, 1), scale, kind=Type.INT4, axis=0))
    made = quantizers(same(saved(net)))["w"]
    assert (made.inputs[1].const_value.numpy() > 0).all()
    compiles(net.path)


@pytest.mark.parametrize(("clip", "bits"), [(None, 8), ((-3, 3), 3), ((-8, 7), 4)])
def test_floats_that_are_quantized_in_the_graph(net, clip, bits):
    weights = net.constant(np.random.default_rng(2).normal(size=(D, C, 1, 1)))
    conv(net, net.pair(weights, 0.02 if bits == 8 else 0.2, 0, Type.INT8, name="w", clip=clip))
    made = quantizers(same(saved(net)))["w"]
    assert said(made)["bits"] == bits
    compiles(net.path)


def test_what_no_layer_reads_as_weights_becomes_floats(net):
    weights = net.dequantized(drawn(Type.INT8, D, C, 1, 1), 0.01)
    bias = net.dequantized([9000, -9000, 70000, 0, 1, 2], 0.0001, kind=Type.INT32, name="b")
    y = net.op("Conv", net.image(), weights, bias, name="conv")
    net.end(net.lif(y, v_threshold=0.5))
    assert "b" not in quantizers(same(saved(net)))
    compiles(net.path)


def tokens_layer(net: Foreign, scale: object, codes: np.ndarray) -> None:
    """A linear layer whose inputs have scales of their own in runs of three."""
    weights = net.dequantized(codes, scale, kind=Type.INT4, axis=0, block_size=3)
    y = net.op("MatMul", net.tokens(), weights, name="fc")
    net.end_of_tokens(net.lif(y, v_threshold=0.5))


def test_blocks_whose_scales_are_multiples_are_finer_codes(net):
    scale = np.float32(0.1) * np.array([[1, 2, 1, 2, 1, 4], [4, 1, 2, 2, 2, 2]], np.float32)
    tokens_layer(net, scale, drawn(Type.INT4, D, D))
    made = quantizers(same(saved(net)))["w"]
    assert said(made)["bits"] == 8
    compiles(net.path)


def test_other_blocks_are_layers_of_their_own(net):
    scale = np.random.default_rng(4).uniform(0.1, 0.2, (2, D))
    tokens_layer(net, scale, drawn(Type.INT4, D, D))
    model = same(saved(net))
    assert [said(quantizers(model)[n])["bits"] for n in ("w.0", "w.1")] == [4, 4]
    assert "fc" in {node.name for node in model.graph}
    compiles(net.path)


def test_blocks_of_a_convolution_with_a_bias(net):
    scale = np.broadcast_to(np.random.default_rng(4).uniform(0.1, 0.2, (D, 2, 1, 1)), (D, 2, 3, 3))
    codes = drawn(Type.INT4, D, D, 3, 3)
    weights = net.dequantized(codes, scale, kind=Type.INT4, axis=1, block_size=3)
    bias = net.constant(np.linspace(-1, 1, D))
    y = net.op("Conv", net.spikes(), weights, bias, name="second", pads=[1] * 4)
    net.end(net.lif(y, v_threshold=0.5))
    same(saved(net))
    compiles(net.path)


@pytest.mark.parametrize(
    ("kind", "zero", "found"),
    [
        (Type.UINT8, 0, {"bits": 8, "signed": 0}),
        (Type.UINT8, 128, {"bits": 8, "signed": 1}),
        (Type.INT8, 0, {"bits": 8, "signed": 1}),
        (Type.INT8, -128, {"bits": 8, "signed": 0}),
        (Type.UINT4, 5, {"bits": 5, "signed": 1}),
    ],
)
def test_the_input_behind_a_view_and_before_padding(net, kind, zero, found):
    image = net.view("frames", (net.frames[0], *net.frames[2:]))
    x = net.pair(image, 0.5, zero, kind)
    conv(net, net.dequantized(drawn(Type.INT4, D, C, 3, 3), 0.1), x, pads=[1] * 4)
    made = quantizers(same(saved(net)))["q"]
    assert found.items() <= said(made).items()
    compiles(net.path)


@pytest.mark.parametrize("scale", [1, 0.5, 1 / 255, 1 / 127, 0.3])
@pytest.mark.parametrize("moved", [False, True])
def test_spikes_stay_spikes(net, scale, moved):
    """Where 1 is no multiple of the scale, spikes are multiplied with what it becomes."""
    x = net.spikes()
    if moved:
        x = net.op("Transpose", net.op("MaxPool", x, kernel_shape=[2, 2]), perm=[0, 1, 3, 2])
    x = net.pair(x, scale, 0, Type.UINT8)
    y = net.op("Conv", x, net.dequantized(drawn(Type.INT4, D, D, 1, 1), 0.1), name="second")
    net.end(net.lif(y, v_threshold=0.5))
    model = same(saved(net))
    is_level = np.round(1 / np.float32(scale)) * np.float32(scale) == 1
    assert ("Mul" in {n.op_type for n in model.graph}) == (not is_level)
    compiles(net.path)


def test_sums_of_spikes(net):
    x = net.op("Add", net.spikes(), net.spikes(name="other"))
    x = net.pair(x, 0.5, 0, Type.UINT8)
    y = net.op("Conv", x, net.dequantized(drawn(Type.INT4, D, D, 1, 1), 0.1), name="second")
    net.end(net.lif(y, v_threshold=0.5))
    assert "q" not in quantizers(same(saved(net)))
    compiles(net.path)


REFUSED: dict[str, tuple[str, Callable[[Foreign], None]]] = {}


def refused(message: str) -> Callable[[Callable[[Foreign], None]], Callable[[Foreign], None]]:
    """Register a network, and what is said of it."""

    def register(write: Callable[[Foreign], None]) -> Callable[[Foreign], None]:
        REFUSED[write.__name__] = message, write
        return write

    return register


@refused("node 'q' (DequantizeLinear): it quantizes an activation inside the network")
def potentials(net):
    net.end(net.lif(net.pair(net.conv(net.image(), (C, D)), 0.1)))


@refused("node 'q' (DequantizeLinear): it quantizes an activation inside the network")
def sums_that_saturate(net):
    x = net.op("Add", net.spikes(), net.spikes(name="other"))
    net.end(net.lif(net.conv(net.pair(x, 1 / 255))))


@refused("it quantizes the frames to codes from -3 to 252, less its zero point of 3")
def an_input_that_no_byte_holds(net):
    conv(net, net.dequantized(drawn(Type.INT4, D, C, 1, 1), 0.1), first(net, 0.5, 3))


@refused("node 'q' (DequantizeLinear): the frames have scales [0.5, 1.0, 2.0] and zero points [0]")
def an_input_of_several_scales(net):
    x = first(net, [0.5, 1, 2], [0, 0, 0], axis=1)
    conv(net, net.dequantized(drawn(Type.INT4, D, C, 1, 1), 0.1), x)


@refused("the scales of its weights [6, 6] differ along several axes")
def blocks_of_single_inputs(net):
    scale = np.random.default_rng(4).uniform(0.1, 0.2, (D, 2))
    weights = net.dequantized(drawn(Type.INT4, D, D), scale, kind=Type.INT4, axis=1, block_size=3)
    y = net.op("MatMul", net.tokens(), weights, name="fc")
    net.end_of_tokens(net.lif(y))


@refused("node 'w' (DequantizeLinear): its scale or zero point is computed")
def a_computed_scale(net):
    scale = net.op("ReduceMax", "frames", keepdims=0)
    codes = net.codes(drawn(Type.INT4, D, C, 1, 1))
    conv(net, net.op("DequantizeLinear", codes, scale, name="w"))


@refused("node 'w' (DequantizeLinear): it has scales of float32 and codes of float8_e4m3fn")
def codes_of_floats(net):
    conv(net, net.dequantized(np.ones((D, C, 1, 1)), 0.1, kind=Type.FLOAT8E4M3FN))


@refused("node 'q' (DequantizeLinear): its scale and zero point are not those of 'q.codes'")
def a_pair_that_does_not_belong_together(net):
    codes = net.op(
        "QuantizeLinear", net.spikes(), net.constant(0.5), net.codes(0, Type.UINT8), name="q.codes"
    )
    x = net.op("DequantizeLinear", codes, net.constant(0.25), net.codes(0, Type.UINT8), name="q")
    net.end(net.lif(net.conv(x)))


@refused("node 'q' (DequantizeLinear): it dequantizes what no QuantizeLinear gives")
def codes_of_a_cast(net):
    codes = net.op("Cast", net.spikes(), to=Type.UINT8)
    net.end(net.lif(net.conv(net.op("DequantizeLinear", codes, net.constant(1.0), name="q"))))


@refused("node 'q.codes' (QuantizeLinear): its codes are read by no DequantizeLinear")
def codes_that_are_cast(net):
    codes = net.op("QuantizeLinear", net.spikes(), net.constant(1.0), name="q.codes")
    net.end(net.lif(net.conv(net.op("Cast", codes, to=Type.FLOAT))))


@refused("node 'q.clip' (Clip): it clips codes to what is computed")
def computed_ends(net):
    given = net.constant(1.0), net.codes(0, Type.UINT8)
    codes = net.op("QuantizeLinear", net.spikes(), *given, name="q.codes")
    end = net.op("Cast", net.op("ReduceMax", "frames", keepdims=0), to=Type.UINT8)
    codes = net.op("Clip", codes, net.codes(0, Type.UINT8), end, name="q.clip")
    net.end(net.lif(net.conv(net.op("DequantizeLinear", codes, *given, name="q"))))


@refused("node 'q' (DequantizeLinear): it quantizes activations by blocks")
def blocks_of_an_activation(net):
    scale = np.ones((net.frames[0], 2, *net.frames[3:]))
    x = net.pair(net.spikes(), scale, np.zeros(scale.shape, int), axis=1, block_size=3)
    net.end(net.lif(net.conv(x)))


def in_a_branch(net) -> onnx.NodeProto:
    """Weights that a branch by a constant gives."""
    codes = net.codes(drawn(Type.INT4, D, C, 1, 1))
    given = codes, net.constant(0.1)
    inner = onnx.helper.make_node("DequantizeLinear", given, ["inner"], name="w")
    out = onnx.helper.make_tensor_value_info("inner", Type.FLOAT, (D, C, 1, 1))
    branch = onnx.helper.make_graph([inner], "branch", [], [out])
    asked = net.constant(True, np.bool_)
    weights = net.op("If", asked, then_branch=branch, else_branch=branch)
    node = net.nodes[-1]
    conv(net, weights)
    return node


def test_weights_in_a_branch_that_is_taken(net):
    in_a_branch(net)
    (weights,) = (q for q in quantizers(same(saved(net))).values() if q.name == "If_0/w")
    assert said(weights)["bits"] == 4


@refused("node 'w' (DequantizeLinear): it is inside a loop or a branch")
def weights_in_a_branch_that_is_left(net):
    """As a graph is that says that it stands for neurons, and does not."""
    in_a_branch(net).metadata_props.add(key="hqc.stands_for", value="{}")


@refused("node 'view' (Reshape): its constants cannot be computed")
def constants_that_do_not_fit(net):
    view = net.view(net.codes(drawn(Type.INT4, D, C, 1, 1)), (D, C, 2, 1), name="view")
    conv(net, net.op("DequantizeLinear", view, net.constant(0.1), name="w"))


def first(net: Foreign, scale: object, zero: object, **attributes) -> str:
    """The quantized input, an image."""
    image = net.view("frames", (net.frames[0], *net.frames[2:]))
    return net.pair(image, scale, zero, Type.UINT8, **attributes)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_named(net, name):
    message, write = REFUSED[name]
    write(net)
    with pytest.raises(UnsupportedModelError) as error:
        load_model(saved(net))
    assert message in error.value.message
    assert error.value.hint


class Calibration(CalibrationDataReader):
    """Seeded frames."""

    def __init__(self, shape) -> None:
        drawn = np.random.default_rng(0).integers(0, 9, (4, *shape)).astype(np.float32)
        self._left = iter([{"frames": x} for x in drawn])

    def get_next(self):
        return next(self._left, None)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", [QuantType.QInt8, QuantType.QUInt8, QuantType.QInt4])
def test_networks_that_onnxruntime_quantizes(tmp_path, per_channel, kind):
    net = Foreign(tmp_path)
    rng = np.random.default_rng(8)

    def fires(x: str) -> str:
        reached = net.op("GreaterOrEqual", x, net.constant(0.5))
        return net.op("Cast", reached, to=Type.FLOAT)

    image = net.view("frames", (net.frames[0], *net.frames[2:]))
    weights = [net.constant(rng.normal(size=s)) for s in ((D, C, 3, 3), (D, D, 1, 1))]
    x = fires(net.op("Conv", image, weights[0], net.constant(rng.normal(size=D)), pads=[1] * 4))
    x = fires(net.op("Conv", x, weights[1]))
    rates = net.view(net.mean(x, (0, 2, 3)), (1, D))
    net.op("Gemm", rates, net.constant(rng.normal(size=(D, 2))), out="logits")
    net.save(tmp_path / "float.onnx")
    quant_pre_process(tmp_path / "float.onnx", tmp_path / "ready.onnx")
    quantize_static(
        tmp_path / "ready.onnx",
        net.path,
        Calibration(net.frames),
        quant_format=QuantFormat.QDQ,
        per_channel=per_channel,
        activation_type=QuantType.QUInt8,
        weight_type=kind,
        op_types_to_quantize=["Conv"],
        extra_options={"OpTypesToExcludeOutputQuantization": ["Conv"]},
    )
    model = same(net.path)
    assert len(quantizers(model)) == 3
    compiles(net.path)
