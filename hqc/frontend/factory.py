"""The torch module that a user's code makes, named on the command line."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from hqc.errors import UserError, in_short


def make_module(text: str, what: str, arguments: Mapping[str, object] | None = None) -> nn.Module:
    """The module that `FILE.py:NAME` or `pkg.mod:NAME` makes, a function or a class.

    The user's own code runs, as in a script beside it. `what` names the text in messages. Raises
    `UserError` where there is no such, where it fails, and where it makes no module.
    """
    with _importable(text):
        factory = _factory(text, what)
        try:
            module = factory(**(arguments or {}))
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{what} fails: {in_short(error)}") from error
    if not isinstance(module, nn.Module):
        raise UserError(f"{what} gives {type(module).__name__}, not a torch module")
    return module


@contextmanager
def _importable(text: str) -> Iterator[None]:
    """What lies beside the file, or in the current folder, can be imported."""
    file = Path(text.rpartition(":")[0])
    folder = str(file.parent.resolve() if file.suffix == ".py" else Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _factory(text: str, what: str) -> Callable:
    """The function or class of that name."""
    source, _, name = text.rpartition(":")
    path = Path(source)
    is_module = bool(source) and all(part.isidentifier() for part in source.split("."))
    is_module = is_module and path.suffix != ".py"
    if not name or not (is_module or (path.suffix == ".py" and path.is_file())):
        raise UserError(
            f"{what} is not FILE.py:FUNCTION",
            hint="e.g. examples/nmnist/model.py:spikformer, where that file is, or pkg.mod:make",
        )
    try:
        module = importlib.import_module(source) if is_module else _imported(path)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{source} cannot be imported: {in_short(error)}",
            hint="install what it imports beside hqc, and run hqc where it is found",
        ) from error
    except (Exception, SystemExit) as error:
        raise UserError(f"{source} cannot be imported: {in_short(error)}") from error
    if not callable(getattr(module, name, None)):
        raise UserError(f"{source} has no function {name!r}")
    return getattr(module, name)


def _imported(path: Path) -> object:
    """A file as a module, which dataclasses of it look up by name."""
    name = f"{path.stem}@{os.path.abspath(path)}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
