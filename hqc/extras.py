"""Packages that compiling does not need, and how each is installed."""

from __future__ import annotations

_TRAIN, _NIR = "pip install 'hqc[train]'", "pip install 'hqc[nir]'"

INSTALLED_BY = {
    "executorch": "pip install executorch",
    "matplotlib": _TRAIN,
    "nir": _NIR,
    "onnxscript": _TRAIN,
    "openvino": "pip install openvino",
    "safetensors": "pip install safetensors",
    "spikingjelly": "pip install spikingjelly",
    "torch": _TRAIN,
}
"""The command for each, by the name that it is imported by."""

WAYS_IN = {
    "ONNX files, by hqc import and hqc compile": (),
    "NIR graphs, by hqc import": ("nir",),
    "torch modules, by hqc export": ("torch", "onnxscript"),
    "weights in safetensors, by hqc export --checkpoint": ("torch", "onnxscript", "safetensors"),
    "training, by hqc search": ("torch", "onnxscript"),
    "pictures of a search": ("matplotlib",),
}
"""What networks come from, and what that needs."""
