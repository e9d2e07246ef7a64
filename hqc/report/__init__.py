"""The report of a compiled model: one HTML file; one chart per file, which registers itself."""

import importlib
import pkgutil

from hqc.report.page import write_report

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["write_report"]
