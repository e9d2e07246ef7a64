"""How make-integer lowers each op of the dialect: one file per kind of op, registered on import."""

import importlib
import pkgutil

from hqc.passes.integer_rules.quantity import (
    Lowering,
    PotentialOverflowError,
    Quantity,
    Weights,
)
from hqc.passes.integer_rules.readout import read_out
from hqc.passes.integer_rules.registry import find_rule

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Lowering", "PotentialOverflowError", "Quantity", "Weights", "find_rule", "read_out"]
