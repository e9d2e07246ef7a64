"""LIF in torch equals the dialect's reference, and lets gradients through."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hqc.dialect.lif import lif
from hqc.models.lif import LIF

SETTINGS = [
    {},
    {"v_threshold": 0.5},
    {"v_reset": None},
    {"decay_input": False, "v_reset": -0.5},
    {"tau": 4.0, "decay_input": False},
    {"tau": float("inf"), "decay_input": False, "v_reset": None},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_equals_reference(settings, rng):
    x = rng.normal(0.5, 1, (8, 2, 50)).astype(np.float32)
    module = LIF(**settings)
    expected = lif(
        x,
        tau=module.tau,
        v_threshold=module.v_threshold,
        v_reset=module.v_reset or 0.0,
        soft_reset=int(module.v_reset is None),
        decay_input=int(module.decay_input),
    )
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(module(torch.tensor(x)).numpy(), expected)


def test_gradient_is_the_surrogates():
    x = torch.tensor([[1.5]], requires_grad=True)
    LIF(tau=2.0)(x).sum().backward()
    distance = 1.5 / 2 - 1.0
    assert x.grad.item() == pytest.approx(0.5 / (1 + (np.pi * distance) ** 2))
