"""Torch module to dialect model."""

from __future__ import annotations

import ast
import copy
import json
import logging
import warnings
from os import PathLike

import onnx
import onnx_ir as ir
import torch

from hqc.atomic_files import replacing
from hqc.data.recordings import PREPROCESSING
from hqc.dialect import DIALECT, OPSET, attach_functions, find_op
from hqc.frontend.neurons import with_own_neurons

_SCOPES = "pkg.torch.onnx.name_scopes"


def export(
    module: torch.nn.Module,
    example: torch.Tensor,
    path: str | PathLike[str],
    *,
    name: str = "model",
    preprocessing: dict | None = None,
) -> ir.Model:
    """Write a torch module as a dialect model that stock onnxruntime runs, and return it.

    `example` is an input of the shape that the model is compiled for: frames [T, 1, ...], or an
    image [1, ...] for a network that repeats it over time. Neurons, ours or SpikingJelly's, and
    quantizers become nodes of `ai.hqc`, named after their layer. `preprocessing` is kept in the
    model's metadata: how events or images become frames, `kind` ("events" or "image"),
    `time_steps`, `height` and `width`, and for images `mean` and `std` of each color where they are
    normalized.
    """
    if any(c.__name__ == "BaseNode" for m in module.modules() for c in type(m).__mro__):
        module = with_own_neurons(copy.deepcopy(module))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["frames"],
            output_names=["logits"],
            verbose=False,
        )
    model = program.model
    model.graph.name = name
    model.opset_imports[DIALECT] = 1
    _name_after_layers(model.graph)
    _round_weights(model.graph)
    model.metadata_props.clear()
    if preprocessing is not None:
        model.metadata_props[PREPROCESSING] = json.dumps(preprocessing)
    attach_functions(model)
    proto = ir.serde.serialize_model(model)
    onnx.checker.check_model(proto, full_check=True)
    with replacing(path) as temporary:
        temporary.write_bytes(proto.SerializeToString())
    return model


def _name_after_layers(graph: ir.Graph) -> None:
    """Name every node after its layer, in place of the exporter's own names and notes."""
    taken: dict[str, int] = {}
    for node in graph:
        scopes = [s for s in ast.literal_eval(node.metadata_props.get(_SCOPES, "[]")) if s]
        layer = scopes[-2] if len(scopes) > 1 else node.op_type
        if node.op_type in ("Conv", "Gemm") and node.inputs[1].name.endswith(".weight"):
            # The exporter folds BatchNorm into float weights, and gives the layer its name.
            layer = node.inputs[1].name.removesuffix(".weight")
        name = layer if node.op_type in ("Conv", "Gemm", "LIF") else f"{layer}/{node.op_type}"
        taken[name] = taken.get(name, 0) + 1
        node.name = name if taken[name] == 1 else f"{name}_{taken[name]}"
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    for value in graph.initializers.values():
        value.metadata_props.clear()


def _round_weights(graph: ir.Graph) -> None:
    """Replace every weight by what its quantizer makes of it.

    A quantizer leaves its own results as they are, so that nothing changes but how well the file
    can be compressed.
    """
    for node in graph:
        weight = node.inputs[0] if node.op_type in ("QuantUniform", "QuantPow2") else None
        if weight is not None and weight.is_initializer() and len(weight.uses()) == 1:
            x, scale = (value.const_value.numpy() for value in node.inputs)
            op = find_op(node)
            weight.const_value = ir.tensor(op.reference(x, scale, **op.attributes(node)))
