"""A dialect model as a file."""

from __future__ import annotations

import tempfile
from os import PathLike
from pathlib import Path

import onnx
import onnx_ir as ir

from hqc.atomic_files import placing
from hqc.frontend.stored_codes import with_codes

LARGEST_WHOLE = 1_500_000_000
"""Bytes of weights in a model file; a protobuf holds 2^31, and what runs it needs some more."""


def save_model(
    model: ir.Model, path: str | PathLike[str], largest_whole: int = LARGEST_WHOLE
) -> None:
    """Write a model that stock onnxruntime runs; the file is there whole or not at all.

    Quantized weights are written as their codes, see `stored_codes`. Of more than `largest_whole`
    bytes, all weights but small ones are in a file beside it, which is called as it with `.data`.
    """
    path = Path(path)
    stored = with_codes(model)
    weights = sum(v.const_value.nbytes for v in stored.graph.initializers.values())
    beside = f"{path.name}.data" if weights > largest_whole else None
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        written = Path(folder) / path.name
        ir.save(stored, written, format="protobuf", external_data=beside)
        onnx.checker.check_model(str(written), full_check=True)
        files = [written] if beside is None else [written.with_name(beside), written]
        placing(files, path.parent)
