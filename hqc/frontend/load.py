"""ONNX file to a dialect model that passes can rely on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from hqc.dialect import DIALECT, KERNEL, OPSET, attach_functions, find_op
from hqc.errors import UnsupportedModelError, UserError
from hqc.frontend.repeated_image import take_frames

_OLDEST, _NEWEST = 18, 24
"""Standard opsets in which the ops that hqc lowers mean what they mean in `OPSET`."""

_STANDARD = ("", "ai.onnx")


def load_model(path: str | PathLike[str], bind: Mapping[str, int] | None = None) -> ir.Model:
    """Read and check a model; its shapes are static, and its input is frames [T, ...], afterwards.

    `bind` gives symbolic dimensions their sizes. Raises `UserError` for a file that is no model, a
    wrong opset, an unbound dimension, or weights that are not finite.
    """
    path = Path(path)
    proto = _read(path)
    _check_opsets(path, proto)
    for entry in proto.opset_import:
        if entry.domain in _STANDARD:
            entry.domain, entry.version = "", OPSET
    _bind(path, proto, dict(bind or {}))
    model = ir.serde.deserialize_model(proto)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    for node in model.graph:
        node.name = node.name or node.outputs[0].name
        if op := find_op(node):
            op.attributes(node)
    _check_weights(path, model)
    attach_functions(model)
    return take_frames(_with_shapes(path, model))


def model_name(model: ir.Model, path: str | PathLike[str] | None = None) -> str:
    """A C identifier for the model: its graph's name, or the file's where that says nothing."""
    name = model.graph.name or ""
    if name in ("", "main_graph", "main", "torch_jit", "graph") and path is not None:
        name = Path(path).stem
    name = re.sub(r"\W+", "_", name.lower()).strip("_") or "model"
    return f"m_{name}" if name[0].isdigit() else name


def _read(path: Path) -> onnx.ModelProto:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError:
        raise UserError(
            f"{path} is not an ONNX model, or is cut short ({len(data)} bytes)",
            hint="export it again, with hqc.frontend.export.export or torch.onnx.export",
        ) from None
    if not proto.graph.node:
        raise UserError(
            f"{path} holds no graph", hint="is it an ONNX model, and was it written whole?"
        )
    return proto


def _check_opsets(path: Path, proto: onnx.ModelProto) -> None:
    versions = {"" if e.domain in _STANDARD else e.domain: e.version for e in proto.opset_import}
    standard = versions.get("", 1)
    if not _OLDEST <= standard <= _NEWEST:
        raise UserError(
            f"{path}: opset {standard} is not one of {_OLDEST} to {_NEWEST}",
            hint=f"export the model with opset_version={OPSET}",
        )
    for domain in (DIALECT, KERNEL):
        if versions.get(domain, 1) != 1:
            raise UserError(
                f"{path}: version {versions[domain]} of {domain}; this hqc knows version 1",
                hint="upgrade hqc",
            )
    known = {*_STANDARD, DIALECT, KERNEL} | {f.domain for f in proto.functions}
    for node in proto.graph.node:
        if node.domain not in known:
            raise UnsupportedModelError(
                f"{path}: node {node.name!r} is {node.domain}::{node.op_type}, which has no body",
                hint="write it in standard ONNX, or as QuantUniform, QuantPow2 or LIF of ai.hqc",
            )


def _bind(path: Path, proto: onnx.ModelProto, bind: dict[str, int]) -> None:
    """Give symbolic dimensions of inputs their sizes; drop every shape that depended on them."""
    initializers = {i.name for i in proto.graph.initializer}
    inputs = [i for i in proto.graph.input if i.name not in initializers]
    if len(inputs) != 1 or len(proto.graph.output) != 1:
        raise UnsupportedModelError(
            f"{path}: {len(inputs)} inputs and {len(proto.graph.output)} outputs",
            hint="hqc compiles models of one input, the frames, and one output, the logits",
        )
    unused = set(bind)
    bound = False
    for number, dim in enumerate(inputs[0].type.tensor_type.shape.dim):
        name = dim.dim_param or (f"{inputs[0].name}.{number}" if not dim.dim_value else "")
        if not name:
            continue
        if name not in bind:
            raise UserError(
                f"{path}: dimension {name!r} of input {inputs[0].name!r} has no size",
                hint=f"give it one: --bind {name}=1",
            )
        unused.discard(name)
        dim.dim_value = bind[name]
        bound = True
    if unused:
        raise UserError(f"--bind: the model has no dimension {sorted(unused)[0]!r}")
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
    """Check the model and infer its shapes, reading each op of the dialect as an Identity.

    The dialect's ops keep their input's shape, which inference cannot see through their bodies.
    """
    proto = ir.serde.serialize_model(model)
    try:
        onnx.checker.check_model(proto)
        plain = onnx.ModelProto()
        plain.CopyFrom(proto)
        for node in plain.graph.node:
            if node.domain == DIALECT:
                node.op_type, node.domain = "Identity", ""
                del node.input[1:], node.attribute[:]
        inferred = onnx.shape_inference.infer_shapes(plain, strict_mode=True, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"{path}: not a valid model: {first}") from None
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(inferred.graph.value_info)
    proto.graph.output[0].CopyFrom(inferred.graph.output[0])
    model = ir.serde.deserialize_model(proto)
    for node in model.graph:
        shape = node.outputs[0].shape
        if shape is None or not shape.is_static():
            raise UnsupportedModelError(
                f"{path}: node {node.name!r} ({node.op_type}) has an output of unknown shape",
                hint="hqc needs static shapes; give symbolic ones a size with --bind NAME=SIZE",
            )
    return model
