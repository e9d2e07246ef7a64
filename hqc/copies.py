"""Models as protobufs, and copies of them, without a copy of their large weights."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnx_ir as ir

from hqc.dialect.op import Op, attached

_LARGE = 1 << 20
"""Bytes of a tensor that is not copied with its model."""


def copy_model(model: ir.Model) -> ir.Model:
    """An independent copy: passes change what they are given."""
    proto, aside, ops = _without(model)
    copy = put_back(ir.serde.deserialize_model(proto), aside)
    copy.functions.update((key, op.body) for key, op in ops.items())
    return copy


def without_large(model: ir.Model) -> tuple[onnx.ModelProto, dict[str, ir.TensorProtocol]]:
    """The model as a protobuf, which holds 2 GB at most, and its large weights by name.

    In the protobuf these are tensors in a file that is not there; `put_back` gives them back.
    """
    proto, aside, ops = _without(model)
    proto.functions.extend(op.proto for op in ops.values())
    return proto, aside


def _without(
    model: ir.Model,
) -> tuple[onnx.ModelProto, dict[str, ir.TensorProtocol], dict[ir.OperatorIdentifier, Op]]:
    """The model as a protobuf without its large weights, and without the bodies of our ops."""
    values = [v for v in model.graph.initializers.values() if v.const_value is not None]
    large = {
        v: v.const_value
        for v in values
        if v.const_value.nbytes > _LARGE or isinstance(v.const_value, ir.ExternalTensor)
    }
    ops = attached(model)
    functions = dict(model.functions)
    try:
        for key in ops:
            del model.functions[key]
        for value, tensor in large.items():
            value.const_value = ir.ExternalTensor(
                "aside",
                None,
                None,
                tensor.dtype,
                shape=ir.Shape(tensor.shape.numpy()),
                name=value.name,
            )
        proto = ir.serde.serialize_model(model)
    finally:
        model.functions.update(functions)
        for value, tensor in large.items():
            value.const_value = tensor
    return proto, {value.name: tensor for value, tensor in large.items()}, ops


def put_back(model: ir.Model, aside: Mapping[str, ir.TensorProtocol]) -> ir.Model:
    """The same model, its large weights in their places again."""
    for name, tensor in aside.items():
        model.graph.initializers[name].const_value = tensor
    return model
