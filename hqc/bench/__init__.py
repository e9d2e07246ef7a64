"""Peers to be timed against: one file each, registered on import."""

import importlib
import pkgutil

from hqc.bench.peer import bench, peers

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["bench", "peers"]
