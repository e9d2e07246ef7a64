"""What a search method is, and what it is told."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from hqc.data.task import Task
from hqc.models.lif import fuse_neurons
from hqc.named import named
from hqc.post_training.space import space_of
from hqc.quantize.recipe import Choice, quantizable_layers, quantizer
from hqc.search.device import find_device
from hqc.search.run_folder import RunFolder


@dataclass(frozen=True)
class Options:
    """How to search: the same for every method, which takes what it needs.

    `choices` are those of every layer, none for the method's own; `keep` fixes that of layers by
    glob; `beta` weighs hardware against the task; `profile` names the energy profile; epochs are
    those of float training, of the search and of training with the choices fixed;
    `mixed_precision` is bfloat16 in training, single precision in evaluation. `tolerance` is the
    accuracy that greedy and beam searches may lose, `beam` how many assignments the latter keeps.
    `workers` processes measure candidates, those of a Ray cluster with `ray`. `device` is torch's
    name of where the network is trained; `fuse_neurons` compiles the neurons' arithmetic there.
    """

    choices: tuple[Choice, ...] = ()
    keep: Mapping[str, Choice] = field(default_factory=dict)
    beta: float = 2.0
    profile: str = "spikehq"
    float_epochs: int = 36
    search_epochs: int = 12
    train_epochs: int = 36
    batch: int = 32
    seed: int = 0
    mixed_precision: bool = False
    tolerance: float = 0.01
    beam: int = 4
    workers: int = 1
    ray: bool = False
    device: str = "cpu"
    fuse_neurons: bool = False


Search = Callable[[nn.Module, Task, Options, RunFolder], dict]
"""Trains and searches a model in place, logging into the run folder; returns the result."""


@dataclass(frozen=True)
class Method:
    """A way to search, and the choices that it offers where none are named."""

    search: Search
    choices: tuple[Choice, ...]

    def __call__(self, model: nn.Module, task: Task, options: Options, run: RunFolder) -> dict:
        options = replace(options, choices=options.choices or self.choices)
        model.to(find_device(options.device))
        if options.fuse_neurons:
            fuse_neurons(model)
        if options.mixed_precision:  # whose convolutions are fastest with channels last
            for parameter in model.parameters():
                if parameter.ndim == 4:
                    parameter.data = parameter.data.to(memory_format=torch.channels_last)
        return self.search(model, task, options, run)


_METHODS: dict[str, Method] = {}


def method(name: str, choices: tuple[Choice, ...]) -> Callable[[Search], Search]:
    """Register the decorated function as a search method."""

    def register(function: Search) -> Search:
        _METHODS[name] = Method(function, choices)
        return function

    return register


def methods() -> list[str]:
    """The names of all methods."""
    package = importlib.import_module("hqc.search")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"hqc.search.{module.name}")
    return sorted(_METHODS)


def find_method(name: str) -> Method:
    """A method by name. Raises `UserError`, suggesting the nearest."""
    methods()  # registers them
    return named("search method", name, _METHODS, "methods")


def search_space(model: nn.Module, options: Options) -> dict[str, list[Choice]]:
    """The choices of every layer; one alone where `keep` fixes it. Raises `UserError`."""
    for choice in (*options.choices, *options.keep.values()):
        quantizer(choice, torch.ones(1))
    return space_of(quantizable_layers(model), options.choices, options.keep)
