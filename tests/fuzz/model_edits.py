"""Mutations of model files: of their bytes, and of what the bytes say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Rng = np.random.Generator
Edit = Callable[[onnx.ModelProto, Rng], object]

SIZES = (
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    16,
    17,
    33,
    64,
    255,
    -1,
    -2,
    2**16,
    2**31 - 1,
    2**31,
    2**40,
    2**63 - 1,
)
NUMBERS = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 3.7, 1e-45, 1e-30, 1e30, np.inf, -np.inf, np.nan)
NAMES = ("", "x", "frames", "logits", "conv", "conv.codes", "conv:out", "a/b", "é", "*/", "\n")
OP_TYPES = (
    "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Conv", "ConvTranspose",
    "Div", "Dropout", "Expand", "Flatten", "Gather", "Gemm", "GlobalAveragePool", "Identity", "If",
    "IntegerLIF", "LIF", "LayerNormalization", "Loop", "MatMul", "MaxPool", "Mul", "Neg", "Pad",
    "QuantPow2", "QuantUniform", "ReduceMean", "ReduceSum", "Relu", "Reshape", "Scan", "Sigmoid",
    "Slice", "Softmax", "Split", "Squeeze", "Sub", "Tile", "TopK", "Transpose", "Unsqueeze",
)  # fmt: skip
DOMAINS = ("", "ai.onnx", "ai.hqc", "ai.hqc.kernel", "ai.onnx.ml", "com.acme")
TEXTS = ("", "{", "null", '{"kind": "events"}', "VALID", "SAME_UPPER", "linear", "x" * 1000)


def of(rng: Rng, values):
    """One of the values."""
    values = list(values)
    return values[rng.integers(len(values))] if values else None


def node(proto: onnx.ModelProto, rng: Rng) -> onnx.NodeProto:
    """Any node of the main graph."""
    return of(rng, proto.graph.node)


def _dims(proto: onnx.ModelProto, rng: Rng) -> None:
    value = of(rng, (*proto.graph.input, *proto.graph.output, *proto.graph.value_info))
    shape = value.type.tensor_type.shape
    match rng.integers(4):
        case 0 if shape.dim:
            of(rng, shape.dim).dim_value = of(rng, SIZES)
        case 1 if shape.dim:
            of(rng, shape.dim).dim_param = of(rng, NAMES)
        case 2 if shape.dim:
            del shape.dim[rng.integers(len(shape.dim))]
        case _:
            shape.dim.add().dim_value = of(rng, SIZES)


def _value_type(proto: onnx.ModelProto, rng: Rng) -> None:
    value = of(rng, (*proto.graph.input, *proto.graph.output))
    match rng.integers(3):
        case 0:
            value.type.tensor_type.elem_type = int(rng.integers(0, 25))
        case 1:
            value.type.tensor_type.ClearField("shape")
        case _:
            value.type.Clear()


def _tensor(proto: onnx.ModelProto, rng: Rng) -> TensorProto:
    return of(rng, proto.graph.initializer)


def _tensor_dims(proto: onnx.ModelProto, rng: Rng) -> None:
    tensor = _tensor(proto, rng)
    if tensor.dims and rng.integers(2):
        tensor.dims[rng.integers(len(tensor.dims))] = of(rng, SIZES)
    else:
        rng.shuffle(dims := [*tensor.dims, 1])
        del tensor.dims[:]
        tensor.dims.extend(map(int, dims))


def _tensor_type(proto: onnx.ModelProto, rng: Rng) -> None:
    _tensor(proto, rng).data_type = int(rng.integers(0, 30))


def _tensor_array(proto: onnx.ModelProto, rng: Rng) -> None:
    tensor = _tensor(proto, rng)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:  # an edit before says so
        return
    array = np.array(numpy_helper.to_array(tensor))
    with np.errstate(all="ignore"):
        match rng.integers(6):
            case 0:
                array = (array * of(rng, NUMBERS)).astype(array.dtype)
            case 1 if array.size:
                array.reshape(-1)[rng.integers(array.size)] = 1
            case 2 if array.size:
                array = array.astype(np.float32)
                array.reshape(-1)[rng.integers(array.size)] = of(rng, NUMBERS)
            case 3:
                array = np.array(array.reshape(-1)[: rng.integers(array.size + 1)])
            case 4:
                array = np.concatenate([array.reshape(-1)] * 2)
            case _:
                array = array.astype(of(rng, ("f2", "f8", "i1", "u1", "i4", "i8", "bool")))
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _tensor_number(proto: onnx.ModelProto, rng: Rng) -> None:
    """Another number in a shape or an axis."""
    tensor = of(rng, (t for t in proto.graph.initializer if t.data_type == TensorProto.INT64))
    array = np.array(numpy_helper.to_array(tensor)).reshape(-1)
    if array.size:
        array[rng.integers(array.size)] = of(rng, SIZES)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _tensor_gone(proto: onnx.ModelProto, rng: Rng) -> None:
    proto.graph.initializer.remove(_tensor(proto, rng))


def _external(proto: onnx.ModelProto, rng: Rng) -> None:
    tensor = _tensor(proto, rng)
    tensor.data_location = TensorProto.EXTERNAL
    for key in ("location", "offset", "length", "odd")[: rng.integers(5)]:
        value = of(rng, ("", "model.onnx", "../x", "/etc/passwd", "0", "8", "-1", "1e3", "9" * 30))
        tensor.external_data.add(key=key, value=value)


def _attribute_value(proto: onnx.ModelProto, rng: Rng) -> None:
    attribute = of(rng, (a for n in proto.graph.node for a in n.attribute))
    if attribute is None:
        return
    match rng.integers(8):
        case 0 | 1:
            attribute.i = of(rng, SIZES)
        case 2:
            attribute.f = of(rng, NUMBERS)
        case 3 if attribute.ints:
            attribute.ints[rng.integers(len(attribute.ints))] = of(rng, SIZES)
        case 4 if attribute.ints:
            del attribute.ints[rng.integers(len(attribute.ints))]
        case 5:
            attribute.ints.append(of(rng, SIZES))
        case 6:
            attribute.type = int(rng.integers(0, 15))
        case _:
            attribute.name = of(rng, ("", "axis", "group", "bits", "tau", "pads", "odd"))


def _attribute_gone(proto: onnx.ModelProto, rng: Rng) -> None:
    chosen = of(rng, (n for n in proto.graph.node if n.attribute))
    if chosen is not None:
        del chosen.attribute[rng.integers(len(chosen.attribute))]


def _attribute_more(proto: onnx.ModelProto, rng: Rng) -> None:
    name, value = of(
        rng,
        (
            ("group", of(rng, SIZES)), ("auto_pad", of(rng, TEXTS)), ("dilations", [2, 2]),
            ("strides", [of(rng, SIZES), 1]), ("pads", [of(rng, SIZES)] * 4), ("ceil_mode", 1),
            ("bits", of(rng, SIZES)), ("signed", of(rng, SIZES)), ("narrow", of(rng, SIZES)),
            ("axis", of(rng, SIZES)), ("tau", of(rng, NUMBERS)), ("v_reset", of(rng, NUMBERS)),
            ("v_threshold", of(rng, NUMBERS)), ("soft_reset", of(rng, SIZES)),
            ("decay_input", of(rng, SIZES)), ("alpha", of(rng, NUMBERS)), ("transA", 1),
            ("transB", 0), ("keepdims", 1), ("perm", [0, 0]), ("epsilon", of(rng, NUMBERS)),
            ("training_mode", 1), ("allowzero", 1), ("to", of(rng, SIZES)), ("storage_order", 1),
            ("count_include_pad", 1), ("noop_with_empty_axes", 1), ("levels", of(rng, SIZES)),
        ),
    )  # fmt: skip
    chosen = node(proto, rng)
    for same in [a for a in chosen.attribute if a.name == name]:
        chosen.attribute.remove(same)
    chosen.attribute.append(helper.make_attribute(name, value))


def _op_type(proto: onnx.ModelProto, rng: Rng) -> None:
    chosen = node(proto, rng)
    chosen.op_type = of(rng, OP_TYPES)
    if rng.integers(2):
        del chosen.attribute[:]


def _domain(proto: onnx.ModelProto, rng: Rng) -> None:
    node(proto, rng).domain = of(rng, DOMAINS)


def _input(proto: onnx.ModelProto, rng: Rng) -> None:
    chosen = of(rng, (n for n in proto.graph.node if n.input))
    index = rng.integers(len(chosen.input))
    known = [v for n in proto.graph.node for v in (*n.input, *n.output)]
    match rng.integers(4):
        case 0:
            chosen.input[index] = of(rng, known)
        case 1:
            chosen.input[index] = of(rng, NAMES)
        case 2:
            del chosen.input[index]
        case _:
            chosen.input.insert(index, of(rng, known))


def _output(proto: onnx.ModelProto, rng: Rng) -> None:
    chosen = of(rng, (n for n in proto.graph.node if n.output))
    match rng.integers(3):
        case 0:
            chosen.output[0] = of(rng, NAMES)
        case 1:
            del chosen.output[:]
        case _:
            chosen.output.append(of(rng, NAMES))


def _around(proto: onnx.ModelProto, rng: Rng) -> None:
    """A node in the middle of an edge."""
    chosen = of(rng, (n for n in proto.graph.node if n.input))
    index, made = rng.integers(len(chosen.input)), f"made{rng.integers(1000)}"
    between = helper.make_node(of(rng, OP_TYPES), [chosen.input[index]], [made], name="between")
    between.domain = of(rng, ("", "", "", "ai.hqc"))
    chosen.input[index] = made
    proto.graph.node.insert(list(proto.graph.node).index(chosen), between)


def _order(proto: onnx.ModelProto, rng: Rng) -> None:
    nodes = list(proto.graph.node)
    match rng.integers(3):
        case 0:
            a, b = rng.integers(len(nodes), size=2)
            nodes[a], nodes[b] = nodes[b], nodes[a]
        case 1:
            del nodes[rng.integers(len(nodes))]
        case _:
            nodes.append(of(rng, nodes))
    copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(copies)


def _rename(proto: onnx.ModelProto, rng: Rng) -> None:
    """A value under another name, everywhere: what any exporter may call it."""
    values = {v for n in proto.graph.node for v in (*n.input, *n.output)}
    old, new = of(rng, sorted(values)), of(rng, NAMES)
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        value.name = new if value.name == old else value.name
    for each in proto.graph.node:
        for field in (each.input, each.output):
            for index, value in enumerate(field):
                field[index] = new if value == old else value


def _node_names(proto: onnx.ModelProto, rng: Rng) -> None:
    names = [of(rng, NAMES) for _ in range(rng.integers(1, 3))]
    for each in proto.graph.node:
        each.name = of(rng, names)


def _header(proto: onnx.ModelProto, rng: Rng) -> None:
    match rng.integers(6):
        case 0:
            proto.ir_version = int(rng.integers(0, 20))
        case 1 | 2:
            of(rng, proto.opset_import).version = int(rng.integers(0, 30))
        case 3:
            proto.opset_import.add(domain=of(rng, DOMAINS), version=int(rng.integers(0, 30)))
        case 4:
            proto.graph.name = of(rng, NAMES)
        case _:
            del proto.opset_import[rng.integers(len(proto.opset_import))]


def _metadata(proto: onnx.ModelProto, rng: Rng) -> None:
    key = of(rng, ("hqc.preprocessing", "hqc.arena", "hqc.areas", "odd"))
    proto.metadata_props.add(key=key, value=of(rng, TEXTS))
    node(proto, rng).metadata_props.add(key=of(rng, ("hqc.layer", "hqc.arena")), value="x")


def _interface(proto: onnx.ModelProto, rng: Rng) -> None:
    match rng.integers(4):
        case 0:
            proto.graph.output.add().CopyFrom(of(rng, proto.graph.output))
        case 1:
            proto.graph.output[0].name = of(rng, [v for n in proto.graph.node for v in n.output])
        case 2:
            proto.graph.input.add().CopyFrom(of(rng, proto.graph.input))
        case _:
            del proto.graph.input[:]


def _function(proto: onnx.ModelProto, rng: Rng) -> None:
    function = proto.functions.add(name=of(rng, ("F", "LIF")), domain=of(rng, DOMAINS))
    function.opset_import.add(domain="", version=int(rng.integers(11, 25)))
    function.input.append("a")
    function.output.append("b")
    inner = of(rng, ("Identity", "Neg", function.name))
    function.node.append(
        helper.make_node(
            inner, ["a"], ["b"], domain="" if inner != function.name else function.domain
        )
    )
    proto.opset_import.add(domain=function.domain, version=1)
    chosen = of(rng, (n for n in proto.graph.node if len(n.input) == 1))
    chosen.op_type, chosen.domain = function.name, function.domain


EDITS: tuple[Edit, ...] = (
    _dims, _value_type, _tensor_dims, _tensor_type, _tensor_array, _tensor_array, _tensor_number,
    _tensor_gone, _external, _attribute_value, _attribute_value, _attribute_gone, _attribute_more,
    _attribute_more, _op_type, _domain, _input, _output, _around, _around, _order, _rename,
    _node_names, _header, _metadata, _interface, _function,
)  # fmt: skip


def edited(proto: onnx.ModelProto, rng: Rng) -> bytes:
    """The file of a model after one to three edits."""
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    for _ in range(of(rng, (1, 1, 1, 2, 3))):
        try:
            of(rng, EDITS)(changed, rng)
        except (AttributeError, IndexError, TypeError, ValueError):
            continue  # an edit before left nothing to edit
    return changed.SerializeToString()


def scrambled(content: bytes, rng: Rng) -> bytes:
    """Bytes with some changed, left out, added or repeated."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(len(data) + 1))
        match rng.integers(6):
            case 0 | 1 | 2 if at < len(data):
                data[at] ^= 1 << int(rng.integers(8))
            case 3:
                del data[at:]
            case 4:
                data[at:at] = rng.bytes(int(rng.integers(1, 9)))
            case _:
                data[at:at] = data[at : at + int(rng.integers(1, 40))]
    return bytes(data)
