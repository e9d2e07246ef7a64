"""A module that takes one time step a call, as one that takes all."""

from __future__ import annotations

import copy
import inspect

import torch
from torch import Tensor, nn

from hqc.errors import UserError
from hqc.frontend.agreement import chosen


def each_step(module: nn.Module, time_steps: int, output: int | str | None = None) -> nn.Module:
    """The module called once for each frame of [T, 1, ...]; the mean of what it returns.

    An image [1, ...] is shown in every step. A module whose forward takes a `state` is given what
    it returned behind its output the step before, as Norse's are. `output` says which of several
    outputs is meant. The copy is of a class of its own, derived from the module's, so that layers
    keep their names. Raises `UserError`, when it is called, for frames of other time steps.
    """
    kind = type(module)
    hands_on = "state" in inspect.signature(module.forward).parameters

    def forward(self: nn.Module, frames: Tensor) -> Tensor:
        outputs, state = [], None
        for step in _steps(frames, time_steps):
            if hands_on:
                given, state = kind.forward(self, step, state)
            else:
                given = kind.forward(self, step)
            given = given if output is None else chosen(given, output)
            if not isinstance(given, Tensor):
                raise UserError(
                    f"in a time step the module returns a {type(given).__name__} of {len(given)}, "
                    "not one tensor",
                    hint="say which of them is meant: --take 0, where spikes come first",
                )
            outputs.append(given)
        return torch.stack(outputs).mean(0)

    stepped = copy.copy(module)
    stepped.__class__ = type(kind.__name__, (kind,), {"forward": forward})
    return stepped


def _steps(frames: Tensor, time_steps: int) -> list[Tensor]:
    if len(frames) == time_steps:
        return list(frames.unbind())
    if len(frames) == 1:
        return [frames] * time_steps
    raise UserError(
        f"the input {list(frames.shape)} has {len(frames)} time steps, not the {time_steps} that "
        "are asked for",
        hint="give frames T,1,C,H,W of as many, or an image 1,C,H,W",
    )
