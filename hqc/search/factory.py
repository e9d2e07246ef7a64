"""The network that a user's Python file makes, to be trained."""

from __future__ import annotations

import torch
from torch import nn

from hqc.frontend.factory import make_module
from hqc.frontend.neurons import with_own_neurons


def build_model(text: str, seed: int = 0) -> nn.Module:
    """The module that `FILE.py:NAME` makes, its first weights decided by the seed.

    SpikingJelly's neurons become ours. Raises `UserError` where it makes none.
    """
    torch.manual_seed(seed)
    return with_own_neurons(make_module(text, f"--model {text!r}"))
