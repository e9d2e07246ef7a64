"""Exported models are compared with their modules on equal inputs, layer by layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hqc.errors import UserError
from hqc.frontend.agreement import Agreement, record
from hqc.frontend.export import export
from hqc.quantize import apply_recipe

T, C, D = 2, 3, 12


class Deep(nn.Module):
    """Rounded activations, whose inputs are multiples of 1/4, so that many are at a tie.

    `later` moves what is rounded, by as little as another order of summation would.
    """

    later = 0.0

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.ModuleList(
            nn.Conv2d(D if i else C, D, 3, padding=1, bias=False) for i in range(6)
        )
        for layer in self.layers:
            layer.weight.data = torch.randint(-2, 3, layer.weight.shape) / 4
        self.head = nn.Linear(D, 5)

    def forward(self, x):
        x = x.flatten(0, 1)
        for layer in self.layers:
            x = torch.round(layer(x).clamp(0, 4) + self.later)
        return self.head(x.mean((2, 3))).mean(0)


def frames(seed):
    torch.manual_seed(seed)
    return torch.randint(0, 4, (T, 1, C, 8, 8)).float()


def exported(net, tmp_path):
    return export(net, frames(0), tmp_path / "net.onnx", input_scale=1.0)


def test_what_is_rounded_is_noted_outside_quantizers():
    run = record(apply_recipe(Deep().eval(), {"*": "4u"}), frames(0))
    assert len(run.rounded) == 6
    for given, made in run.rounded:
        np.testing.assert_array_equal(np.round(given), made)


def test_a_tie_that_falls_the_other_way_is_no_difference(tmp_path):
    net = Deep().eval()
    model = exported(net, tmp_path)
    here = record(net, frames(1))
    net.later = 1e-6
    there = record(net, frames(1))
    assert np.abs(here.logits - there.logits).max() > 0.01 * np.abs(here.logits).max()
    Agreement(model, there).check(there)


def test_a_model_that_rounds_elsewhere_is_found(tmp_path):
    net = Deep().eval()
    model = exported(net, tmp_path)
    net.later = 0.3
    run = record(net, frames(1))
    with pytest.raises(UserError, match=r"inputs of .*Round.* differ"):
        Agreement(model, run).check(run)
    net.later = 0.0
    run = record(net, frames(1))
    run.rounded[2] = run.rounded[2][0], run.rounded[2][1] + 1
    with pytest.raises(UserError, match=r"outputs of .*Round.* differ"):
        Agreement(model, run).check(run)
