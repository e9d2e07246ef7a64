"""The network that a user's Python file makes."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from hqc.errors import UserError
from hqc.frontend.neurons import with_own_neurons


def build_model(text: str, seed: int = 0) -> nn.Module:
    """The module that `FILE.py:NAME` makes, its first weights decided by the seed.

    SpikingJelly's neurons become ours. Raises `UserError` where it makes none.
    """
    factory = _factory(text)
    torch.manual_seed(seed)
    try:
        model = factory()
    except Exception as error:
        raise UserError(f"--model {text!r} fails: {type(error).__name__}: {error}") from None
    if not isinstance(model, nn.Module):
        raise UserError(f"--model {text!r} gives {type(model).__name__}, not a torch module")
    return with_own_neurons(model)


def _factory(text: str) -> Callable:
    """The function behind `FILE.py:NAME`. Raises `UserError`."""
    file, _, name = text.rpartition(":")
    path = Path(file)
    if not name or path.suffix != ".py" or not path.is_file():
        raise UserError(
            f"--model {text!r} is not FILE.py:FUNCTION",
            hint="e.g. examples/nmnist/model.py:spikformer",
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{path} cannot be imported: {type(error).__name__}: {error}") from None
    finally:
        sys.path.pop(0)
    if not callable(getattr(module, name, None)):
        raise UserError(f"{path} has no function {name!r}")
    return getattr(module, name)
