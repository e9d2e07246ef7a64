"""The register of methods that choose bits after training."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from hqc.named import named
from hqc.post_training.network import Choice
from hqc.post_training.search import Found, Search

Choose = Callable[[Search], Found]
"""Chooses each layer's bits; measures candidates by the search alone."""


@dataclass(frozen=True)
class Method:
    """A way to choose, and the choices that it offers where none are named."""

    choose: Choose
    choices: tuple[Choice, ...]


_METHODS: dict[str, Method] = {}


def method(name: str, *choices: Choice) -> Callable[[Choose], Choose]:
    """Register the decorated function as a method."""

    def register(function: Choose) -> Choose:
        _METHODS[name] = Method(function, choices)
        return function

    return register


def methods() -> dict[str, Method]:
    """Every method by name."""
    package = importlib.import_module("hqc.post_training")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"hqc.post_training.{module.name}")
    return dict(sorted(_METHODS.items()))


def find_method(name: str) -> Method:
    """A method by name. Raises `UserError`, suggesting the nearest."""
    return named("method", name, methods(), "methods")
