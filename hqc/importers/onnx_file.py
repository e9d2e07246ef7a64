"""ONNX as exporters of frameworks write it."""

from __future__ import annotations

from pathlib import Path

import onnx

from hqc.frontend.load import read_model
from hqc.importers.importer import Asked, importer


@importer("onnx", "an ONNX model", lambda path: path.suffix == ".onnx")
def read_onnx(path: Path, asked: Asked) -> onnx.ModelProto:
    """The model as it is: what it writes out is raised where every model is loaded."""
    return read_model(path)
