"""Weights that somebody else saved, for a module that is already there.

No code of a checkpoint is run: torch reads it with `weights_only`.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hqc.errors import UserError, in_short
from hqc.frontend.libraries import library_of

_KEYS = (
    *("state_dict", "model", "model_state_dict", "net", "network", "module"),
    *("ema", "model_ema", "ema_state_dict"),
)
"""Where training scripts keep the weights; if several fit, the first is taken."""

_PREFIXES = ("module.", "model.")
"""What nn.DataParallel and Lightning put before every name."""

_COMPILED = "_orig_mod."
"""What torch.compile puts into names."""

_COUNTS = ("num_batches_tracked", "n_averaged")
"""Numbers of steps of training, which say nothing later."""

_SHOWN = 10


@dataclass(frozen=True)
class Loaded:
    """What was taken: the key of the checkpoint where it lay, and what was left out of it."""

    key: str | None
    left_out: str


@dataclass(frozen=True)
class _Fit:
    """A state_dict against a module's names."""

    key: str | None
    taken: Mapping[str, Tensor]
    missing: list[str]
    unexpected: list[str]
    shapes: list[str]

    @property
    def wrong(self) -> int:
        return len(self.missing) + len(self.unexpected) + len(self.shapes)

    def __str__(self) -> str:
        said = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape": self.shapes,
        }
        return "; ".join(
            f"{len(names)} {what}: {', '.join(names[:_SHOWN])}{', ...' * (len(names) > _SHOWN)}"
            for what, names in said.items()
            if names
        )


def load_checkpoint(module: nn.Module, path: Path, strict: bool = True) -> Loaded:
    """Load the weights of a checkpoint, a state_dict or one under a usual key, into a module.

    Where several fit in part, the one with the fewest differences is taken. What neurons remember,
    and counts of training steps, are left out. Raises `UserError` for a file that holds none or
    would run code, and for names and shapes that differ: if not `strict`, only if nothing fits.
    """
    content = _read(path)
    fits = [
        _fit(module, key, renamed)
        for key, found in _state_dicts(content)
        for renamed in _renamed(found)
    ]
    if not fits:
        what = f"a dict of {_few(content)}" if isinstance(content, Mapping) else type(content)
        raise UserError(
            f"{path} holds no state_dict: it is {what}",
            hint="save one: torch.save(model.state_dict(), path)",
        )
    best = min(fits, key=lambda fit: (fit.wrong, -len(fit.taken)))
    if best.wrong and (strict or not best.taken):
        raise UserError(
            f"{path} does not fit the module: {best}",
            hint="is it of the same network, with the same arguments (--arg)?"
            + (" --no-strict loads what fits" if best.taken else ""),
        )
    module.load_state_dict(dict(best.taken), strict=False)
    return Loaded(best.key, str(best))


def _few(content: Mapping) -> str:
    keys = [repr(key) for key in content]
    return ", ".join(keys[:_SHOWN]) + ", ..." * (len(keys) > _SHOWN) or "nothing"


def _read(path: Path) -> object:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise UserError(f"{path} is no whole safetensors file: {in_short(error)}") from None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        if wanted is None:
            raise UserError(
                f"{path} is no checkpoint that torch reads: {in_short(error)}",
                hint="save one: torch.save(model.state_dict(), path)",
            ) from None
        raise UserError(
            f"{path} wants to load {wanted[1]}, and hqc does not run code in checkpoints",
            hint="where you trust it, save its weights alone: torch.save(model.state_dict(), path)",
        ) from None
    except Exception as error:  # torch raises whatever the file makes it stumble over
        raise UserError(
            f"{path} is no checkpoint that torch reads: {in_short(error)}",
            hint="save one: torch.save(model.state_dict(), path)",
        ) from None


def _state_dicts(content: object, key: str | None = None) -> Iterator[tuple[str | None, Mapping]]:
    """Dicts of tensors by name: the content, or what lies under usual keys, with their place."""
    if not isinstance(content, Mapping):
        return
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)}
    if tensors and all(isinstance(k, str) for k in content):
        yield key, tensors
    for part in _KEYS:
        if isinstance(content.get(part), Mapping):
            yield from _state_dicts(content[part], part if key is None else f"{key}.{part}")


def _renamed(found: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
    """The dict, and what it is without prefixes that wrappers put before names, one by one."""
    yield found
    while True:
        shorter = {name.replace(_COMPILED, ""): value for name, value in found.items()}
        if shorter.keys() == found.keys():
            prefix = next((p for p in _PREFIXES if any(k.startswith(p) for k in found)), None)
            if prefix is None:
                return
            shorter = {name.removeprefix(prefix): value for name, value in found.items()}
        yield shorter
        found = shorter


def _fit(module: nn.Module, key: str | None, found: Mapping[str, Tensor]) -> _Fit:
    own = module.state_dict()
    said_nothing = {name for name in {*own, *found} if _says_nothing(module, name)}
    both = [name for name in own if name in found and name not in said_nothing]
    shapes = [
        f"{name} {list(found[name].shape)} for {list(own[name].shape)}"
        for name in both
        if found[name].shape != own[name].shape
    ]
    return _Fit(
        key,
        {name: found[name] for name in both if found[name].shape == own[name].shape},
        [name for name in own if name not in found and name not in said_nothing],
        [name for name in found if name not in own and name not in said_nothing],
        shapes,
    )


def _says_nothing(module: nn.Module, name: str) -> bool:
    """Whether it is a count of training steps, or what neurons remember of their last input."""
    owner, _, last = name.rpartition(".")
    if last in _COUNTS:
        return True
    try:
        library = library_of(module.get_submodule(owner))
    except AttributeError:
        return False
    return library is not None and last in library.memories
