"""A file of any format as a model that is ready to be compiled, as far as the file says enough."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir

from hqc.data.recordings import (
    PREPROCESSING,
    Preprocessing,
    preprocessing_of,
    read_recordings,
)
from hqc.dialect import attach_functions
from hqc.frontend.frames import is_quantized
from hqc.frontend.input_quantizer import quantize_input
from hqc.frontend.load import prepared
from hqc.importers.importer import Asked, Importer


def import_file(
    importer: Importer,
    path: Path,
    asked: Asked,
    *,
    bind: Mapping[str, int] | None = None,
    preprocessing: Preprocessing | None = None,
    data: Path | None = None,
    input_scale: float | None = None,
    input_bits: int = 8,
) -> ir.Model:
    """The dialect model of a file, as `load_model` gives it.

    An input that has no quantizer gets one of `input_bits` where `input_scale` or recordings,
    `data`, say its range; else it stays as it is. Raises `UserError`.
    """
    model = prepared(path, importer.read(path, asked), bind)
    shape = model.graph.inputs[0].shape.numpy()
    if preprocessing is not None:
        said = preprocessing.of(shape)
        model.metadata_props[PREPROCESSING] = json.dumps(said)
    if data is not None or input_scale is not None:
        said = preprocessing_of(model.metadata_props)
        recordings = [] if data is None else read_recordings(data, shape, said)
        quantize_input(model, [r.frames for r in recordings], input_scale, input_bits)
        attach_functions(model)
    return model


def needs_quantizer(model: ir.Model) -> bool:
    """Whether the input still has none."""
    return not is_quantized(model.graph.inputs[0])
