"""The tensors of a model file: read from the files beside it that hold them, and checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import onnx
import onnx_ir as ir
from onnx import numpy_helper

from hqc.errors import UserError
from hqc.regular_files import file_size

LARGEST_FILE = (1 << 31) - 1
"""Bytes of a model file without the files beside it: what a protobuf holds."""

LARGEST_MODEL = 1 << 35
"""Bytes of a model with all its weights."""

IN_MEMORY = 1 << 30
"""Bytes of weights that become part of the protobuf: half of what that holds."""

_SMALL = 1 << 20
"""Bytes of a tensor that is read in any case."""


def read_external_data(path: Path, proto: onnx.ModelProto) -> None:
    """Put the tensors into the model that lie in files beside it, as exporters write large ones.

    Of a model of more than `IN_MEMORY` bytes, large weights stay where they are: their bytes are
    looked up and not read. Raises `UserError` for a file that is missing, lies elsewhere, or is cut
    short.
    """
    outside = [t for t in tensors(proto) if t.data_location == onnx.TensorProto.EXTERNAL]
    places = [_place(path, tensor) for tensor in outside]
    total = proto.ByteSize() + sum(size for _, _, size in places)
    if total > LARGEST_MODEL:
        raise UserError(
            f"{path}: its weights take more than {LARGEST_MODEL:,} bytes",
            hint="hqc compiles networks for devices; is it the right model?",
        )
    weights = {i.name for i in proto.graph.initializer}
    for tensor, (file, offset, size) in zip(outside, places, strict=True):
        if total > IN_MEMORY and size > _SMALL and tensor.name in weights:
            continue
        with file.open("rb") as opened:
            opened.seek(offset)
            tensor.raw_data = opened.read(size)
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def without_external(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with inputs in the place of weights that lie in files, for what cannot read them.

    It is the same where there are none.
    """
    outside = [t for t in proto.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    if not outside:
        return proto
    light = onnx.ModelProto()
    light.CopyFrom(proto)
    names = {t.name for t in outside}
    kept = [t for t in light.graph.initializer if t.name not in names]
    del light.graph.initializer[:]
    light.graph.initializer.extend(kept)
    listed = {i.name for i in light.graph.input}
    light.graph.input.extend(
        onnx.helper.make_tensor_value_info(t.name, t.data_type, list(t.dims))
        for t in outside
        if t.name not in listed
    )
    return light


def _place(path: Path, tensor: onnx.TensorProto) -> tuple[Path, int, int]:
    """File, offset and size of a tensor's bytes."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    where = f"{path}: the numbers of {tensor.name!r} are in {location!r}"
    inside = PurePosixPath(location)
    if not location or inside.is_absolute() or ".." in inside.parts:
        raise UserError(
            f"{where}, which is no file below the model's folder",
            hint="export the model again, or put its data beside it",
        )
    file = path.parent / inside
    try:
        available = file_size(file)
    except UserError as error:
        raise UserError(
            f"{where}: {error.message}", hint="keep the data file beside the model, as exported"
        ) from None
    try:
        offset = int(entries.get("offset", 0))
        size = int(entries.get("length", available - offset))
    except ValueError:
        offset = size = -1
    if offset < 0 or size < 0 or offset + size > available:
        raise UserError(
            f"{where}, from byte {entries.get('offset', 0)}, {entries.get('length', 'all')} of "
            f"them; it has {available}",
            hint="is the data file of this model, and was it copied whole?",
        )
    return file, offset, size


def check_tensors(path: Path, proto: onnx.ModelProto) -> None:
    """Raise `UserError` for a tensor whose numbers do not fill its shape."""
    for tensor in tensors(proto):
        try:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                _check_size(path, tensor)
            else:
                numpy_helper.to_array(tensor)
        except Exception:  # depends on what is wrong with it
            kinds = onnx.TensorProto.DataType
            kind = kinds.Name(tensor.data_type) if tensor.data_type in kinds.values() else "no type"
            raise UserError(
                f"{path}: {tensor.name!r} does not hold the numbers of its shape, "
                f"{list(tensor.dims)} of {kind}",
                hint="was the model written whole?",
            ) from None


def _check_size(path: Path, tensor: onnx.TensorProto) -> None:
    """Raise an error for a tensor in a file whose bytes do not fill its shape."""
    if ir.serde.deserialize_tensor(tensor).nbytes != _place(path, tensor)[2]:
        raise ValueError("more or fewer bytes than its shape needs")


def tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor: initializers and attributes, of all graphs and functions."""
    yield from _of_graph(proto.graph)
    for function in proto.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from attribute.tensors
            if attribute.HasField("t"):
                yield attribute.t
            for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _of_graph(graph)
