"""Where a benchmark may run: one file each, registered on import."""

import importlib
import pkgutil

from hqc.bench.on.place import Job, Result, find_place, places

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Job", "Result", "find_place", "places"]
