"""ONNX file to a dialect model that passes can rely on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from hqc.codegen.names import c_name
from hqc.copies import put_back, without_large
from hqc.dialect import DIALECT, attach_functions, find_op
from hqc.dialect.facts import BOUND, FACTS, Facts
from hqc.errors import UnsupportedModelError, UserError, in_short
from hqc.frontend.control_flow import without_control_flow
from hqc.frontend.foreign import take_foreign
from hqc.frontend.frames import take_frames
from hqc.frontend.names import name_nodes
from hqc.frontend.operands import ON_FLOATS, check_operands
from hqc.frontend.opsets import check_ops, with_our_opset
from hqc.frontend.raising import take_raised
from hqc.frontend.stored_codes import with_quantizers
from hqc.frontend.tensors import LARGEST_FILE, check_tensors, read_external_data, without_external
from hqc.regular_files import read_file

_IR_VERSION = 10
_KEEP_SHAPE = ("QuantUniform", "QuantPow2", "LIF", "IntegerLIF")
_LARGEST_TENSOR = 2**31 - 1
"""Numbers of a tensor: what kernels count in 32 bits."""

_SAYS_NOTHING = ("", "main_graph", "main", "torch_jit", "graph")


def load_model(path: str | PathLike[str], bind: Mapping[str, int] | None = None) -> ir.Model:
    """Read and check a model; its shapes are static, and its input is frames [T, ...], afterwards.

    Every node has a name of its own, and every layer its name as metadata. `bind` gives symbolic
    dimensions their sizes. Raises `UserError` for a file that is no model, a wrong opset, an
    unbound dimension, or weights that are not there or not finite.
    """
    path = Path(path)
    return prepared(path, read_model(path), bind)


def prepared(path: Path, proto: onnx.ModelProto, bind: Mapping[str, int] | None = None) -> ir.Model:
    """The same for a model that was read, or made of a file of another format."""
    check_ops(path, proto)
    read_external_data(path, proto)
    check_tensors(path, proto)
    proto.graph.name = proto.graph.name or path.stem
    _check(path, proto)
    proto = with_our_opset(path, proto)
    proto.ir_version = _IR_VERSION
    _bind(path, proto, dict(bind or {}))
    proto = without_control_flow(path, proto)
    model = _deserialized(path, proto)
    ir.external_data.set_base_dir(model.graph, path.parent)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    name_nodes(model.graph)
    for node in model.graph:
        if op := find_op(node):
            op.attributes(node)
    _check_weights(path, model)
    with_quantizers(path, model)
    model = take_foreign(model)
    attach_functions(model)
    model = _with_shapes(path, model)
    check_operands(path, model)
    model = take_frames(take_raised(model))
    _check_facts(path, model.graph)
    _check_input(path, model)
    return model


def _check_facts(path: Path, graph: ir.Graph) -> None:
    """Drop what passes say of tensors where it is not theirs to say: beside ops on floats.

    What a dumped integer model says is kept, and checked after every pass.
    """
    floats = any(n.domain == DIALECT and n.op_type in ON_FLOATS for n in graph)
    for value in (v for node in graph for v in node.outputs):
        if floats:
            value.metadata_props.pop(FACTS, None)
            value.metadata_props.pop(BOUND, None)
        try:
            Facts.of(value)
        except (ValueError, TypeError):
            raise UserError(
                f"{path}: what tensor {value.name!r} says of itself, {FACTS}, cannot be read",
                hint="start from the dialect model",
            ) from None


def _check_input(path: Path, model: ir.Model) -> None:
    (frames,) = model.graph.inputs
    if frames.dtype != ir.DataType.FLOAT:
        raise UnsupportedModelError(
            f"{path}: input {frames.name!r} holds {frames.dtype.name.lower()}",
            hint="let the model take float32 frames; their quantizer is its first node",
        )


def model_name(model: ir.Model, path: str | PathLike[str] | None = None) -> str:
    """A name for the model's library: its graph's, or the file's where that says nothing."""
    name = model.graph.name or ""
    if name in _SAYS_NOTHING and path is not None:
        name = Path(path).stem
    return c_name(name)


def read_model(path: Path) -> onnx.ModelProto:
    """A file as a model that is still to be checked. Raises `UserError` for one that is none."""
    data = read_file(path, LARGEST_FILE)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError:
        raise UserError(
            f"{path} is not an ONNX model, or is cut short ({len(data)} bytes)",
            hint="export it again; a file of another format: hqc import FILE -o model.onnx",
        ) from None
    if not proto.graph.node:
        raise UserError(
            f"{path} holds no graph", hint="is it an ONNX model, and was it written whole?"
        )
    return proto


def _check(path: Path, proto: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(without_external(proto))
    except Exception as error:  # also for texts that are not UTF-8
        raise UserError(f"{path}: not a valid model: {in_short(error)}") from None


def _deserialized(path: Path, proto: onnx.ModelProto) -> ir.Model:
    """The model in memory. Names that are no UTF-8 pass the checker, but not this."""
    try:
        return ir.serde.deserialize_model(proto)
    except ir.serde.SerdeError as error:
        cause: Exception = error
        while isinstance(cause.__cause__, Exception):
            cause = cause.__cause__
        raise UserError(f"{path}: not a valid model: {in_short(cause)}") from None


def _bind(path: Path, proto: onnx.ModelProto, bind: dict[str, int]) -> None:
    """Give symbolic dimensions of the input their sizes; drop every shape that depended on them."""
    weights = {i.name for i in proto.graph.initializer}
    for value in [i for i in proto.graph.input if i.name in weights]:
        proto.graph.input.remove(value)  # older exporters list them as inputs, too
    inputs = proto.graph.input
    if len(inputs) != 1 or len(proto.graph.output) != 1:
        raise UnsupportedModelError(
            f"{path}: {len(inputs)} inputs and {len(proto.graph.output)} outputs",
            hint="hqc compiles models of one input, the frames, and one output, the logits",
        )
    frames = inputs[0].type.tensor_type
    if frames.elem_type != onnx.TensorProto.FLOAT or not frames.HasField("shape"):
        raise UnsupportedModelError(
            f"{path}: input {inputs[0].name!r} is no float32 tensor of known rank",
            hint="hqc compiles models of frames in float32, [T, 1, C, H, W]",
        )
    unused = set(bind)
    bound = False
    for number, dim in enumerate(frames.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value > 0:
            continue
        name = dim.dim_param or f"{inputs[0].name}.{number}"
        if name not in bind:
            raise UserError(
                f"{path}: dimension {name!r} of input {inputs[0].name!r} has no size",
                hint=f"give it one: --bind {name}=1",
            )
        unused.discard(name)
        dim.dim_value = bind[name]
        bound = True
    if unused:
        without = ", ".join(sorted(set(bind) - unused))
        raise UserError(
            f"--bind: the model has no dimension {sorted(unused)[0]!r} without a size",
            hint=f"those without one are: {without or 'none'}",
        )
    if bound:
        del proto.graph.value_info[:]
        for dim in proto.graph.output[0].type.tensor_type.shape.dim:
            dim.Clear()


def _check_weights(path: Path, model: ir.Model) -> None:
    for name, value in model.graph.initializers.items():
        array = value.const_value.numpy()
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = int((~np.isfinite(array)).sum())
            users = ", ".join(repr(use.node.name) for use in value.uses()) or "nothing"
            raise UserError(
                f"{path}: {bad} of {array.size} numbers in {name!r} are NaN or infinite "
                f"(read by {users})",
                hint="did training diverge? export an earlier checkpoint",
            )


def _with_shapes(path: Path, model: ir.Model) -> ir.Model:
    """Check the model and infer its shapes, reading neurons and quantizers as an Identity.

    They keep their input's shape, which inference cannot see through their bodies.
    """
    proto, aside = without_large(model)
    _check(path, proto)
    plain = onnx.ModelProto()
    plain.CopyFrom(proto)
    for node in plain.graph.node:
        if node.domain == DIALECT and node.op_type in _KEEP_SHAPE:
            node.op_type, node.domain = "Identity", ""
            del node.input[1:], node.attribute[:]
    try:
        inferred = onnx.shape_inference.infer_shapes(
            without_external(plain), strict_mode=True, data_prop=True
        )
    except Exception as error:  # also what is no InferenceError
        raise UserError(f"{path}: not a valid model: {in_short(error)}") from None
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(inferred.graph.value_info)
    proto.graph.output[0].CopyFrom(inferred.graph.output[0])
    model = put_back(ir.serde.deserialize_model(proto), aside)
    for node in model.graph:
        for value in node.outputs:
            if value.name:  # an output without a name is left out
                _check_shape(path, node, value)
    return model


def _check_shape(path: Path, node: ir.Node, value: ir.Value) -> None:
    if value.shape is None or not value.shape.is_static() or value.dtype is None:
        raise UnsupportedModelError(
            f"{path}: node {node.name!r} ({node.op_type}) has an output of unknown shape",
            hint="hqc needs static shapes, which no shape that the graph computes is",
        )
    if math.prod(value.shape.numpy()) > _LARGEST_TENSOR:
        raise UnsupportedModelError(
            f"{path}: node {node.name!r} ({node.op_type}) has an output of "
            f"{list(value.shape.numpy())}, more than {_LARGEST_TENSOR:,} numbers",
            hint="hqc compiles networks for devices; are the sizes right?",
        )
