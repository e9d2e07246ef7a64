"""LIF in torch equals the dialect's reference, and lets gradients through."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hqc.dialect.lif import lif
from hqc.errors import UserError
from hqc.models.lif import LIF, fuse_neurons
from tests.conftest import needs_compiler

SETTINGS = [
    {},
    {"v_threshold": 0.5},
    {"v_reset": None},
    {"decay_input": False, "v_reset": -0.5},
    {"tau": 4.0, "decay_input": False},
    {"tau": 4.0, "decay_input": False, "v_reset": None, "drop": 0.8},
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
        v_reset=module.v_threshold - 0.8 if module.drop else module.v_reset or 0.0,
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


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("settings", SETTINGS[:4:3])
def test_fused_neurons_are_equal_in_every_bit(settings, dtype):
    plain, fused = LIF(**settings), LIF(**settings)
    fuse_neurons(fused)
    x, grad = (torch.randn(4, 5, 8, 7, 7).add(0.5).to(dtype) for _ in range(2))
    results = []
    for layer in (plain, fused):
        x = x.detach().requires_grad_()
        spikes = layer(x)
        spikes.backward(grad)
        results.append((spikes, x.grad))
    assert 0 < spikes.float().mean() < 1
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)


def test_fusing_without_a_compiler_is_refused():
    from torch._inductor import config

    torch.compiler.reset()
    without = config.patch({"cpp.cxx": ("no-such-compiler",), "force_disable_caches": True})
    with without, pytest.raises(UserError, match=r"cannot fuse neurons: .*no-such-comp") as error:
        fuse_neurons(nn.Sequential(LIF()))
    assert "C++ compiler" in error.value.hint
