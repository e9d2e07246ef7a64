"""The command line: one verb per file, each of which adds itself to `cli` on import."""

import importlib
import pkgutil

from hqc.cli.application import cli, main

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["cli", "main"]
