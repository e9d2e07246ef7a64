"""Quantizers of other tools, as models hold them, become ours: a file for each notation.

They are read when a model is loaded, before its neurons are found. What a quantizer does to
constants becomes weights (`weights.py`); what it does to activations must change nothing, or
quantize the input (`activations.py`).
"""

import importlib
import pkgutil

from hqc.frontend.foreign.registry import is_foreign, take_foreign

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["is_foreign", "take_foreign"]
