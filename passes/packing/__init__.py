"""How pack-spikes turns each integer op into a kernel: one file per kind, registered on import."""

import importlib
import pkgutil

from hqc.passes.packing.packed import Packed, Packing, Sums, find_step

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Packed", "Packing", "Sums", "find_step"]
