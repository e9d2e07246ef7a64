"""Dialect models as files of other formats: a file for each format, registered on import."""

import importlib
import pkgutil

from hqc.exporters.exporter import Exporter, Wanted, exporter, exporters, find_exporter

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Exporter", "Wanted", "exporter", "exporters", "find_exporter"]
