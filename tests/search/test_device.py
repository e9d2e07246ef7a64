"""Training on a device: torch's `meta` stands in for one, as it refuses tensors of another."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils import parametrize

from hqc.models.spikformer import Spikformer
from hqc.quantize import apply_recipe
from hqc.quantize.recipe import quantizable_layers
from hqc.search.spikehq import MixedWeight
from hqc.search.training import task_loss, weight_optimizer


def mixed(network):
    for layer in quantizable_layers(network).values():
        mixture = MixedWeight(["2u", "4l", "fp32"], layer.weight.detach())
        parametrize.register_parametrization(layer, "weight", mixture)
    return network


def quantized(network):
    return apply_recipe(network, {"head": "8u", "*.q.*": "2l", "*": "4u"})


@pytest.mark.parametrize("prepare", [mixed, quantized])
def test_a_step_of_training_is_taken_where_the_network_is(prepare):
    network = prepare(Spikformer(classes=3, dim=16, heads=2).to("meta"))
    assert {p.device.type for p in network.parameters()} == {"meta"}
    optimizer, _ = weight_optimizer(network, 1e-3, 10)
    loss = task_loss(network.train(), torch.rand(2, 4, 2, 12, 12), torch.arange(4) % 3)
    loss.backward()
    optimizer.step()
    assert all(p.grad.device.type == "meta" for p in network.parameters() if p.requires_grad)


def test_tensors_of_another_device_would_be_refused():
    with pytest.raises(RuntimeError, match="device"):
        Spikformer(classes=3, dim=16, heads=2).to("meta")(torch.rand(2, 4, 2, 12, 12))
