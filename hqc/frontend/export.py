"""Torch module to dialect model."""

from __future__ import annotations

import ast
import copy
import functools
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from os import PathLike

import numpy as np
import onnx_ir as ir
import torch

from hqc.data.recordings import PREPROCESSING
from hqc.data.synthetic import frames_over_range
from hqc.dialect import DIALECT, OPSET, attach_functions
from hqc.errors import UnsupportedModelError, UserError
from hqc.frontend.agreement import Agreement, chosen, numbered, record
from hqc.frontend.input_quantizer import quantize_input, quantized
from hqc.frontend.names import SCOPES
from hqc.frontend.neurons import with_stepped_neurons
from hqc.frontend.quick_export import quick
from hqc.frontend.save import save_model
from hqc.frontend.stepped import merge_calls
from hqc.frontend.torch_ops import TRANSLATIONS


def export(
    module: torch.nn.Module,
    example: torch.Tensor | Sequence[torch.Tensor],
    path: str | PathLike[str],
    *,
    name: str = "model",
    preprocessing: dict | None = None,
    input_scale: float | None = None,
    fit_input: bool = True,
    output: int | str | None = None,
) -> ir.Model:
    """Write a torch module as a dialect model that stock onnxruntime runs, and return it.

    `example` is an input of the shape that the model is compiled for: frames [T, 1, ...], or an
    image [1, ...] for a network that repeats it over time; or several of them. Neurons, ours or
    SpikingJelly's, and quantizers become nodes of `ai.hqc`, named after their layer.
    `preprocessing` is kept in the model's metadata: how events or images become frames, `kind`
    ("events" or "image"), `time_steps`, `height` and `width`, and for images `mean` and `std` of
    each color where they are normalized.
    A module without a quantizer of its input gets one of 8 bits, unsigned where no example is
    negative: of scale 1 for counts, 1/255 for pixels from 0 to 1, else over the examples' range;
    `input_scale` is taken in place of these. `fit_input=False` says that examples are no real
    frames, whose range says nothing: without `input_scale` the input then stays as it is, and the
    model is to be quantized before it is compiled. Of a forward that returns several tensors, in a
    tuple, a list or a dict, `output` says which is compiled.

    The model is compared with the module's own forward, in evaluation, all its neurons at rest, on
    every example and on random frames. Raises `UnsupportedModelError`, naming the first layer that
    differs, and writes nothing then; the module stays as it was.
    """
    examples = [example] if isinstance(example, torch.Tensor) else list(example)
    _check_types(module, examples)
    with _in_evaluation(module):
        own = with_stepped_neurons(_copy(module))
        if output is not None:
            own.forward = _one_output(own, output)
        run = record(module, examples[0], output)
        model = _to_dialect(own, examples[0], name, preprocessing)
        arrays = [x.detach().cpu().numpy() for x in examples]
        quantizer = None
        if fit_input or input_scale is not None:
            quantizer = quantize_input(model, arrays if fit_input else [], input_scale)
        attach_functions(model)
        agreement = Agreement(model, run)
        if quantizer is None:
            agreement.check(run)
            arrays = arrays[1:]
        for x in (*arrays, *_random_frames(model)):
            frames = quantized(quantizer, x) if quantizer else x
            given = torch.from_numpy(frames).to(examples[0].device)
            agreement.check(record(module, given, output))
    save_model(model, path)
    return model


def _to_dialect(
    module: torch.nn.Module, example: torch.Tensor, name: str, preprocessing: dict | None
) -> ir.Model:
    model = _trace(module, example)
    model.graph.name = name
    model.opset_imports[DIALECT] = 1
    names = {m: n for n, m in module.named_modules()}
    aliases = {n: names[m] for n, m in module.named_modules(remove_duplicate=False)}
    merge_calls(model, aliases)
    _name_after_layers(model.graph, aliases)
    model.metadata_props.clear()
    if preprocessing is not None:
        model.metadata_props[PREPROCESSING] = json.dumps(preprocessing)
    return model


def _one_output(module: torch.nn.Module, output: int | str) -> Callable:
    """A forward that returns one of those of the module's."""
    forward = module.forward

    @functools.wraps(forward)
    def one(*args: object, **kwargs: object) -> torch.Tensor:
        return chosen(forward(*args, **kwargs), output)

    return one


def _check_types(module: torch.nn.Module, examples: Sequence[torch.Tensor]) -> None:
    if not examples:
        raise UserError("there is no example to export the module for")
    for x in examples:
        if x.shape != examples[0].shape or x.dtype != torch.float32:
            raise UserError(
                f"an example is {x.dtype} of shape {list(x.shape)}",
                hint=f"frames are torch.float32, all of one shape {list(examples[0].shape)}",
            )
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise UserError(f"{name!r} of the module is {tensor.dtype}", hint="module.float()")


@contextmanager
def _in_evaluation(module: torch.nn.Module) -> Iterator[None]:
    """The module in evaluation; afterwards in its mode, and with the states and buffers it had."""
    before = {m: {**vars(m), "_buffers": dict(m._buffers)} for m in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, values in before.items():
            vars(part).clear()
            vars(part).update(values)


def _copy(module: torch.nn.Module) -> torch.nn.Module:
    """A copy, with the values of tensors kept from training, which are part of a graph."""
    parts = [vars(part) for part in module.modules()]
    kept = (v for part in parts for v in (*part.values(), *part.get("_memories", {}).values()))
    values = {
        id(v): v.detach().clone() for v in kept if isinstance(v, torch.Tensor) and not v.is_leaf
    }
    return copy.deepcopy(module, values)


def _random_frames(model: ir.Model) -> list[np.ndarray]:
    """Frames to compare on besides, since an example of zeros would say nothing.

    They also show whether a module does something else when it is called again.
    """
    kinds = {"noise", "sparse counts"}
    return [r.frames for r in frames_over_range(model) if r.name in kinds]


def _trace(module: torch.nn.Module, example: torch.Tensor) -> ir.Model:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    # Where it fails, torch prints graphs besides raising an error.
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()), quick():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=["frames"],
                output_names=["logits"],
                custom_translation_table=TRANSLATIONS,
                verbose=False,
            )
        except (torch.onnx.OnnxExporterError, ir.passes.PassError) as error:
            cause: BaseException = error
            while cause.__cause__ is not None:
                cause = cause.__cause__
            if isinstance(cause, UserError):
                raise cause from None
            reason = str(cause).strip().partition("\n")[0]
            raise UnsupportedModelError(
                f"torch cannot trace the module: {type(cause).__name__}: {reason}",
                hint="forward must not branch on data, nor use more of neurons than their spikes: "
                "no v, and no reset(), since potentials start at rest in every call",
            ) from error
    return program.model


def _name_after_layers(graph: ir.Graph, names: Mapping[str, str]) -> None:
    """Name every node after its layer, in place of the exporter's own names and notes.

    `names` gives a layer that is registered more than once one name for all of its own.
    """
    taken: set[str] = set()
    for node in graph:
        scopes = [s for s in ast.literal_eval(node.metadata_props.get(SCOPES, "[]")) if s]
        layer = names.get(scopes[-2], scopes[-2]) if len(scopes) > 1 else node.op_type
        if node.op_type in ("Conv", "Gemm") and node.inputs[1].name.endswith(".weight"):
            # The exporter folds BatchNorm into float weights, and gives the layer its name.
            layer = node.inputs[1].name.removesuffix(".weight")
        name = layer if node.op_type in ("Conv", "Gemm", "LIF") else f"{layer}/{node.op_type}"
        node.name = numbered(name, taken)
        taken.add(node.name)
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    for value in graph.initializers.values():
        value.metadata_props.clear()
