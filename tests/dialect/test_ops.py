"""Every op: its ONNX body in onnxruntime equals its numpy reference, bit for bit."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from hqc.copies import copy_model, without_large
from hqc.dialect import KERNEL, OPSET, attach_functions, ops
from hqc.dialect.op import Op, find_op
from hqc.dialect.quant_pow2 import magnitudes
from hqc.dialect.quant_uniform import code_range
from hqc.errors import UserError
from hqc.frontend.stored_codes import TYPES
from hqc.reference import run_reference
from tests.conformance.channels import channel_cases
from tests.small_models import model_of

LIF = {"frac_bits": 6}
CONV = {"strides": [1, 2], "pads": [1, 0, 1, 1], "weight_bits": 4, "weight_scheme": "uniform"}


def floats(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def bits(rng, *shape, rate=0.3):
    return (rng.random(shape) < rate).astype(np.uint8)


def words(rng, *shape, channels):
    full = rng.integers(0, 2**32, shape, dtype=np.uint32)
    spare = -channels % 32
    full[..., -1] &= np.uint32(0xFFFFFFFF >> spare)
    return full


def codes(rng, *shape):
    return rng.integers(-8, 8, shape, dtype=np.int8)


def levels(rng, channels):
    return [
        rng.integers(-300, 300, channels, dtype=np.int32),
        rng.integers(1, 900, channels, dtype=np.int32),
        rng.integers(-50, 50, channels, dtype=np.int32),
    ]


NEURONS = [
    {"frac_bits": 0},
    {"frac_bits": 4, "leak_shift": 1},
    {"frac_bits": 4, "leak_shift": 1, "soft_reset": 1},
    {"frac_bits": 3, "exact": 1},
    {"frac_bits": 3, "exact": 1, "soft_reset": 1},
    {"frac_bits": 5, "leak_multiplier": 21845, "leak_shift": 15},
]


def cases(rng):
    x = floats(rng, 6, 5, 3)
    scale = rng.uniform(0.1, 0.5, 6).astype(np.float32)
    for b in (2, 3, 4, 8, 12, 16):
        yield "QuantUniform", [x, scale], {"bits": b}
        yield "QuantUniform", [x, scale[:1]], {"bits": b, "signed": 0}
        yield "QuantUniform", [x, scale[:5]], {"bits": b, "narrow": 1, "axis": 1}
    for b in (2, 3, 4):
        yield "QuantPow2", [x, scale], {"bits": b}
        yield "QuantPow2", [x, scale[:3]], {"bits": b, "axis": 2}
    yield from stored_cases(rng)
    for attributes in (
        {},
        {"v_threshold": 0.5, "soft_reset": 1},
        {"tau": 3.0, "decay_input": 0, "v_reset": -0.25},
        {"tau": np.inf, "decay_input": 0},
    ):
        yield "LIF", [3 * x], attributes
    for attributes in ({}, {"half_up": 1}, {"tau": 1.0, "decay_input": 0}, {"decay_input": 0}):
        yield "IntegerLIF", [9 * x], {"levels": 4, **attributes}
    potentials = rng.integers(-90, 90, (5, 2, 7), dtype=np.int32)
    for leak in ({"leak_multiplier": 0}, {"leak_multiplier": 3, "leak_shift": 2}):
        ends = [np.int32([4, 13, 21]), np.int32([9])]
        yield "FixedPointIntegerLIF", [potentials, *ends], leak
    accumulator = rng.integers(-40, 40, (5, 2, 7), dtype=np.int32)
    for attributes in NEURONS:
        yield "FixedPointLIF", [accumulator, *levels(rng, 7)], attributes
    window = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}
    yield "OrPool", [bits(rng, 4, 3, 7, 6)], window
    q, k, v = (bits(rng, 3, 1, 5, 12) for _ in range(3))
    yield "SpikeAttention", [q, k, v, *levels(rng, 1)], {"heads": 3, **LIF}
    sums = [rng.integers(0, 256, (3, 1, 5, 12), dtype=np.uint8) for _ in range(3)]
    high = [2**20 * a for a in levels(rng, 1)]
    yield "SpikeAttention", [*sums, *high], {"heads": 4, "frac_bits": 0}
    yield "QuantizeFrames", [9 * floats(rng, 40), np.float32([0.5])], {"qmax": 15}
    ties = np.arange(-4, 40, dtype=np.float32) / 2
    yield "QuantizeFrames", [ties, np.float32([1])], {"qmax": 255}
    signed = {"qmax": 3, "qmin": -4, "to": ir.DataType.INT8.value}
    yield "QuantizeFrames", [ties - 10, np.float32([1])], signed
    counts = rng.integers(0, 900, (1, 9), dtype=np.int32)
    scale = rng.uniform(0.01, 0.1, 4).astype(np.float32)
    coded = {"weight_bits": 4, "weight_scheme": "uniform"}
    yield "IntegerLinear", [counts, codes(rng, 9, 4), levels(rng, 4)[0], scale], coded
    fine = levels(rng, 4)[0].astype(np.int64) << 20
    wide = {**coded, "wide": 1, "shift": 21}
    yield "IntegerLinear", [counts, codes(rng, 9, 4), fine, scale], wide
    for channels in (1, 31, 32, 33, 70):
        small = rng.integers(0, 8, (2, 3, channels), dtype=np.uint8)
        yield "PackPlanes", [small], {"planes": 3}
        width = -(-channels // 32)
        packed = words(rng, 2, 4, 5, 2, width, channels=channels)
        yield "UnpackPlanes", [packed], {"channels": channels}
        yield "SumSpikes", [packed], {"channels": channels}
        other = words(rng, 2, 4, 5, 1, width, channels=channels)
        yield "AddPlanes", [packed, other], {"channels": channels, "planes": 3}
        yield "PackedPool", [other], {"channels": channels, **window}
        weights = [codes(rng, 5, channels, 3, 3), *levels(rng, 5)]
        yield "SpikeConv", [packed, *weights], {"channels": channels, **CONV, **LIF}
    yield from potential_cases(rng)
    for name, inputs, attributes, _ in channel_cases(
        rng, lambda planes, n: words(rng, 4, 3, 2, planes, -(-n // 32), channels=n), 4
    ):
        yield name, inputs, attributes
    yield "JoinSteps", [potentials], {}
    yield "SplitSteps", [bits(rng, 4, 3, 7)], {"channels": 2}
    yield "ReadPotentials", [rng.integers(-(2**30), 2**30, (4, 7), dtype=np.int32), scale[:1]], {}
    frames = rng.integers(0, 256, (3, 2, 6, 5), dtype=np.uint8)
    for image in (frames, frames.view(np.int8)):
        yield "DenseConv", [image, codes(rng, 5, 2, 3, 3), *levels(rng, 5)], {**CONV, **LIF}
    for planes in ((1, 1, 1), (2, 1, 3)):
        q, k, v = (words(rng, 3, 4, 2, p, 2, channels=40) for p in planes)
        attention = {"channels": 40, "heads": 5, **LIF}
        yield "PackedAttention", [q, k, v, *levels(rng, 1)], attention


def stored_cases(rng):
    """Codes of weights as files hold them, in each type that holds their bits."""
    scale = rng.uniform(0.1, 0.5, 6).astype(np.float32)
    for b in (2, 3, 4, 8, 12, 16):
        for signed in (0, 1):
            dtype = next(pair for most, pair in TYPES.items() if b <= most)[signed].numpy()
            low, high = code_range(b, signed)
            drawn = rng.integers(low, high, (6, 5, 3), endpoint=True).astype(dtype)
            drawn.reshape(-1)[:2] = low, high
            yield "UniformCodes", [drawn, scale], {"bits": b, "signed": signed}
            yield "UniformCodes", [drawn, scale[:5]], {"bits": b, "signed": signed, "axis": 1}
    for b in (2, 3, 4):
        most = magnitudes(b)
        places = np.resize(np.arange(-most, most + 1), (6, 5, 3)).astype(ir.DataType.INT4.numpy())
        yield "Pow2Codes", [places, scale], {"bits": b}
        yield "Pow2Codes", [places.astype(np.int8), scale[:1]], {"bits": b, "axis": -1}
    for shape in ([1], [4], [3, 3], [5, 2, 7], [256]):
        fields = rng.integers(0, 256, -(-np.prod(shape) // 4), dtype=np.uint8)
        yield "TwoBitCodes", [fields], {"shape": shape}
        yield "TwoBitCodes", [fields], {"shape": shape, "signed": 0}


def rescaling(rng, channels, shift=20):
    multiplier = rng.integers(-(2**20), 2**20, channels, dtype=np.int32)
    bias = rng.integers(-(2**30), 2**30, channels)
    return [multiplier, bias], {"shift": shift}


def potential_cases(rng):
    image = rng.integers(-(2**20), 2**20, (2, 3, 7, 6), dtype=np.int32)
    places = {"strides": [2, 1], "pads": [1, 0, 2, 1]}
    wide = rng.integers(-(2**15), 2**15, (5, 3, 3, 2), dtype=np.int16)
    yield "IntegerConv", [image, wide], places
    yield "IntegerConv", [image.astype(np.uint8), codes(rng, 5, 3, 3, 2)], places
    yield "IntegerDepthwiseConv", [image, wide[:3, :1]], places
    yield "IntegerMatMul", [image.astype(np.uint8), wide.reshape(6, -1)], {}
    window = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}
    yield "IntegerMaxPool", [image], window
    for shift in (0, 1, 20, 40):
        values, attributes = rescaling(rng, 6, shift)
        yield "Rescale", [image // 64, *values], attributes
    for channels in (3, 33):
        padded = -(-channels // 32) * 32
        x = rng.integers(-(2**20), 2**20, (3, 5, 4, padded), dtype=np.int32)
        packed = words(rng, 3, 5, 4, 2, padded // 32, channels=channels)
        values, attributes = rescaling(rng, 5)
        by_channel, of_itself = rescaling(rng, channels)
        yield "PadChannels", [x[..., :channels]], {}
        yield "TakeChannels", [x], {"channels": channels}
        dense = [codes(rng, 5, channels, 3, 3), *values]
        own = [codes(rng, channels, 1, 3, 3), *by_channel]
        attributes |= CONV | {"channels": channels}
        yield "SpikeConvPotentials", [packed, *dense], attributes
        yield "PotentialConv", [x, *dense], attributes
        yield "DepthwiseConv", [x, *own], {**attributes, **of_itself}
        yield "RescalePotentials", [x, *by_channel], {**of_itself, "channels": channels}
        neurons = [a * 1000 for a in levels(rng, channels)]
        yield "PotentialNeurons", [x, *neurons], {"channels": channels, **LIF, "frac_bits": 0}
        yield "AddPotentials", [x, x[::-1].copy()], {}
        yield "SpikesAsPotentials", [packed], {"channels": channels}
        yield "CountSpikes", [packed], {"channels": channels}
        yield "SumPotentials", [x], {}
        yield "PoolPotentials", [x], window
        spikes = packed[..., :1, :].copy()
        yield "AndSpikes", [spikes, packed[..., 1:, :].copy()], {}
        yield "AndSpikes", [spikes, packed[:, :1, :1, 1:].copy()], {}
        yield "XorSpikes", [spikes, packed[..., 1:, :].copy()], {}
    values, attributes = rescaling(rng, 5)
    frames = rng.integers(0, 256, (3, 2, 6, 5), dtype=np.uint8)
    for image in (frames, frames.view(np.int8)):
        inputs = [image, codes(rng, 5, 2, 3, 3), *values]
        yield "FrameConvPotentials", inputs, {**CONV, **attributes}


CASES = list(cases(np.random.default_rng(7)))


def by_name() -> dict[str, Op]:
    return {op.name: op for op in ops()}


@pytest.mark.parametrize(
    ("name", "inputs", "attributes"), CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)]
)
def test_body_equals_reference(name, inputs, attributes):
    op = by_name()[name]
    expected = op.reference(*inputs, **attributes)
    held = inputs[0].dtype in (np.dtype(t.numpy()) for t in TYPES[4])  # no runtime is fed int4
    model = model_of(op, inputs, attributes, expected, constant_from=0 if held else None)
    feeds = {} if held else {f"x{i}": array for i, array in enumerate(inputs)}
    result = run_reference(model, feeds)[0]
    np.testing.assert_array_equal(result, expected)


def test_every_op_is_covered():
    assert {name for name, _, _ in CASES} == set(by_name())


def test_models_carry_exactly_the_functions_they_use():
    x = ir.Value(name="x", shape=ir.Shape([2, 3]), type=ir.TensorType(ir.DataType.UINT8))
    node = ir.node("AddPlanes", [x, x], {"channels": 3, "planes": 2}, domain=KERNEL)
    model = ir.Model(
        ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": OPSET}), ir_version=10
    )
    attach_functions(model)
    assert {name for _, name, _ in model.functions} == {"AddPlanes", "PackPlanes", "UnpackPlanes"}


def test_copies_share_bodies_of_ops_and_nothing_else():
    x = ir.Value(name="x", shape=ir.Shape([2, 3]), type=ir.TensorType(ir.DataType.UINT8))
    node = ir.node("AddPlanes", [x, x], {"channels": 3, "planes": 2}, domain=KERNEL)
    graph = ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": OPSET})
    model = attach_functions(ir.Model(graph, ir_version=10))
    body = next(iter(model.functions.values()))
    another = ir.serde.deserialize_function(by_name()["Rescale"].proto)
    model.functions["ai.hqc", "Rescale", ""] = another
    copy = copy_model(model)
    assert copy.functions.keys() == model.functions.keys()
    for key, function in model.functions.items():
        assert (copy.functions[key] is function) == (function is not another)
    assert copy.graph[0] is not model.graph[0]
    assert copy.functions[body.identifier()] is by_name()[body.name].body
    proto, _ = without_large(model)
    assert {f.name for f in proto.functions} == {name for _, name, _ in model.functions}


@pytest.mark.parametrize(
    ("op_type", "attributes", "message"),
    [
        ("QuantUniform", {}, "attribute 'bits' is missing"),
        ("QuantUniform", {"bits": 1}, "bits is 1, must be 2 to 16"),
        ("QuantPow2", {"bits": 5}, "bits is 5, must be 2 to 4"),
        ("UniformCodes", {"bits": 17}, "bits is 17, must be 2 to 16"),
        ("Pow2Codes", {"bits": 1}, "bits is 1, must be 2 to 4"),
        ("TwoBitCodes", {"shape": [4, 0]}, r"shape is \[4, 0\], must be of sizes above 0"),
        ("LIF", {"tau": 0.5}, "tau is 0.5, must be at least 1"),
        ("LIF", {"v_treshold": 1.0}, "unknown attribute 'v_treshold'"),
        ("LIF", {"v_threshold": 0.0}, "v_threshold is 0.0, must be above 0"),
        ("IntegerLIF", {"levels": 0}, "levels is 0, must be 1 to 255"),
        (
            "IntegerLinear",
            {"weight_bits": 4, "weight_scheme": "uniform", "shift": 63},
            "shift is 63, not 0 to 62",
        ),
    ],
)
def test_bad_attributes_are_refused(op_type, attributes, message):
    node = ir.node(op_type, [], attributes, domain="ai.hqc", name="layer")
    with pytest.raises(UserError, match=message) as error:
        find_op(node).attributes(node)
    assert "'layer'" in str(error.value)
