"""What a model file is: its input, its layers, what they take, and which kernels they get."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
import onnx_ir as ir

from hqc.compiler import lower, pipeline_for
from hqc.data.recordings import preprocessing_of
from hqc.dialect import DIALECT, find_op
from hqc.dialect.integer_lif import NEURONS
from hqc.dialect.metadata import LAYER
from hqc.energy.count_model import weights_precision
from hqc.errors import UserError
from hqc.frontend.load import prepared
from hqc.frontend.tensors import tensors
from hqc.importers import Asked, importers
from hqc.passes.graph import constant
from hqc.targets import load_target

_LAYERS = ("Conv", "Gemm", "MatMul")


def model_info(
    path: Path, *, bind: Mapping[str, int] | None = None, asked: Asked | None = None
) -> dict:
    """What the file says and what lowering makes of it, on vectors of the host; compiles no code.

    A model that is not lowered has its layers, and the reason as `refused`. Raises `UserError` for
    a file that is not loaded.
    """
    formats = importers()
    found = next((f for f in formats.values() if f.recognizes(path)), formats["onnx"])
    proto = found.read(path, asked or Asked())
    file = {
        "name": str(path),
        "format": found.name,
        "bytes": path.stat().st_size + sum(f.stat().st_size for f in _beside(path, proto)),
        "producer": f"{proto.producer_name} {proto.producer_version}".strip() or None,
        "opset": {entry.domain or "ai.onnx": entry.version for entry in proto.opset_import},
    }
    model = prepared(path, proto, bind)
    frames, logits = model.graph.inputs[0], model.graph.outputs[0]
    layers = list(_layers(model.graph))
    parameters = sum(layer["parameters"] for layer in layers)
    bits = sum(layer["parameters"] * layer["bits"] for layer in layers if layer["parameters"])
    described = {
        "file": file,
        "name": model.graph.name,
        "input": {
            "name": frames.name,
            "shape": list(frames.shape.numpy()),
            "time_steps": frames.shape.numpy()[0],
            "quantizer": _quantizer(frames),
            "preprocessing": preprocessing_of(model.metadata_props),
        },
        "output": {"name": logits.name, "shape": list(logits.shape.numpy())},
        "layers": layers,
        "parameters": parameters,
        "average_bits": bits / parameters if parameters else None,
        "multiply_accumulates": sum(layer["multiply_accumulates"] for layer in layers),
        "plain_kernels": [],
        "refused": None,
    }
    try:
        kernels = lower(model, pipeline_for(load_target("host"))).kernels
    except UserError as error:
        described["refused"] = error.message
    else:
        _add_kernels(layers, kernels)
        described["plain_kernels"] = [
            {"name": node.name, "op": node.op_type, "why": op.plain}
            for node in kernels.graph
            if (op := find_op(node)) is not None and op.plain
        ]
    return described


def _beside(path: Path, proto: onnx.ModelProto) -> set[Path]:
    """The files beside a model that hold its tensors."""
    places = {
        entry.value
        for tensor in tensors(proto)
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return {file for file in (path.parent / place for place in places) if file.is_file()}


def _quantizer(frames: ir.Value) -> dict | None:
    """Bits, sign and scale of the first quantizer of the frames."""
    for use in frames.uses():
        if (use.node.domain, use.node.op_type) == (DIALECT, "QuantUniform"):
            attributes = find_op(use.node).attributes(use.node)
            scale = constant(use.node.inputs[1])
            return {
                "bits": attributes["bits"],
                "signed": bool(attributes["signed"]),
                "scale": None if scale is None or scale.size != 1 else float(scale.item()),
            }
    return None


def _layers(graph: ir.Graph) -> Iterator[dict]:
    """Layers and products of spikes, in the order of the graph."""
    for node in graph:
        if node.domain or node.op_type not in _LAYERS:
            continue
        weights = node.inputs[1]
        precision = weights_precision(weights)
        out, w = node.outputs[0].shape.numpy(), weights.shape.numpy()
        if node.op_type == "Conv":
            work = math.prod(w) * math.prod(out) // w[0]
        else:
            work = math.prod(out) * node.inputs[0].shape.numpy()[-1]
        yield {
            "name": node.metadata_props.get(LAYER, node.name),
            "node": node.name,
            "kind": _kind(node, precision is not None),
            "shape": list(out),
            "bits": precision and precision.bits,
            "scheme": precision and precision.scheme,
            "neurons": _neurons(node),
            "parameters": math.prod(w) if precision else 0,
            "multiply_accumulates": work,
            "kernel": None,
            "plain": None,
        }


def _kind(node: ir.Node, has_weights: bool) -> str:
    if not has_weights:
        return "product"
    if node.op_type != "Conv":
        return "linear"
    outputs, inputs, *window = node.inputs[1].shape.numpy()
    groups = node.attributes["group"].value if "group" in node.attributes else 1
    depthwise = groups > 1 and inputs == 1 and groups == outputs
    prefix = "depthwise conv" if depthwise else "grouped conv" if groups > 1 else "conv"
    return f"{prefix} {'x'.join(map(str, window))}"


def _neurons(layer: ir.Node) -> dict | None:
    """The first neurons behind a layer, before any other layer."""
    pending, seen = [layer], {layer}
    while pending:
        node = pending.pop(0)
        for use in (u for out in node.outputs for u in out.uses() if u.node not in seen):
            seen.add(use.node)
            if use.node.domain == DIALECT and use.node.op_type in NEURONS:
                return {"op": use.node.op_type, **find_op(use.node).attributes(use.node)}
            if use.node.domain or use.node.op_type not in _LAYERS:
                pending.append(use.node)
    return None


def _add_kernels(layers: list[dict], model: ir.Model) -> None:
    """Say of each layer which kernel computes it, and why that is plain loops where it is."""
    by_layer: dict[str, ir.Node] = {}
    for node in model.graph:
        by_layer.setdefault(node.name, node)
        for value in node.inputs[1:2]:
            if value is not None and LAYER in value.metadata_props:
                by_layer[value.metadata_props[LAYER]] = node
    for layer in layers:
        node = by_layer.get(layer["name"]) or by_layer.get(layer["node"])
        if node is not None and find_op(node) is not None:
            layer["kernel"] = node.op_type
            layer["plain"] = find_op(node).plain or None
