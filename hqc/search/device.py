"""Where a network is trained."""

from __future__ import annotations

import os

import torch
from torch import nn

from hqc.errors import UserError


def find_device(name: str) -> torch.device:
    """The device that torch calls so; for `cuda` under torchrun, the process's own GPU.

    Raises `UserError` where torch does not know it or cannot use it.
    """
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        return torch.empty(0, device=name).device
    except (AssertionError, RuntimeError) as error:  # torch built without CUDA asserts
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {name!r}: {reason}", hint="e.g. cpu, cuda or cuda:1") from None


def device_of(model: nn.Module) -> torch.device:
    """The device that a model's parameters are on."""
    return next(model.parameters()).device
