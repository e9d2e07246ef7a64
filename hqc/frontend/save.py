"""A dialect model as a file."""

from __future__ import annotations

from os import PathLike

import onnx
import onnx_ir as ir

from hqc.atomic_files import replacing
from hqc.frontend.stored_codes import with_codes


def save_model(model: ir.Model, path: str | PathLike[str]) -> None:
    """Write a model that stock onnxruntime runs; the file is there whole or not at all.

    Quantized weights are written as their codes, see `stored_codes`.
    """
    proto = ir.serde.serialize_model(with_codes(model))
    onnx.checker.check_model(proto, full_check=True)
    with replacing(path) as temporary:
        temporary.write_bytes(proto.SerializeToString())
