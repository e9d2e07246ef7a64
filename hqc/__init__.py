"""hqc compiles spiking vision transformers, quantized layer by layer, to small C libraries."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hqc.artifact import Artifact
    from hqc.compiler import compile
    from hqc.errors import UserError
    from hqc.verification import Verification, verify

__all__ = ["Artifact", "UserError", "Verification", "compile", "verify"]

# Loaded when first asked for: importing TVM and onnxruntime takes seconds.
_HOMES = {
    "Artifact": "artifact",
    "UserError": "errors",
    "Verification": "verification",
    "compile": "compiler",
    "verify": "verification",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'hqc' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hqc.{_HOMES[name]}"), name)
