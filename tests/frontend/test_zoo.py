"""SpikingJelly's own networks: compiled classes are the original module's."""

from __future__ import annotations

import importlib
import sys
import types

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn

import hqc
from hqc.frontend.export import export
from hqc.frontend.load import load_model
from hqc.manifest import plain_share
from hqc.quantize import apply_recipe
from hqc.reference import run_reference

T = 3
NODES = {"surrogate_function": surrogate.ATan(), "detach_reset": True}
VIDEO, IMAGE, SMALL = (T, 1, 2, 16, 16), (T, 1, 3, 32, 32), (T, 1, 3, 16, 16)


@pytest.fixture(scope="module", autouse=True)
def torchvision():
    """What SpikingJelly's models import of torchvision, to load weights that nothing here loads."""
    names = ("torchvision", "torchvision.models", "torchvision.models.utils")
    if importlib.util.find_spec("torchvision") is None:
        modules = {name: types.ModuleType(name) for name in names}
        modules[names[-1]].load_state_dict_from_url = None
        sys.modules.update(modules)
        zoo("sew_resnet", "spiking_resnet", "spiking_vgg")
        for name in names:
            del sys.modules[name]


def zoo(*names):
    """Modules of SpikingJelly's model zoo."""
    found = [importlib.import_module(f"spikingjelly.activation_based.model.{n}") for n in names]
    return found[0] if len(found) == 1 else found


class Mean(nn.Module):
    """Classes of every step -> their mean, as training code takes it."""

    def __init__(self, net):
        super().__init__()
        functional.set_step_mode(net, "m")
        self.net = net

    def forward(self, x):
        return self.net(x).mean(0)


class BatchFirst(Mean):
    """Frames [N, T, C, H, W], as data loaders of event cameras give them."""

    def forward(self, x):
        return super().forward(x.permute(1, 0, 2, 3, 4))


def resnet(module, connect="ADD"):
    kind = next(getattr(module, n) for n in ("SEWResNet", "SpikingResNet") if hasattr(module, n))
    cnf = {"cnf": connect} if kind.__name__ == "SEWResNet" else {}
    node = neuron.IFNode if cnf else neuron.LIFNode
    return Mean(kind(module.BasicBlock, [1, 1, 1, 1], num_classes=10, spiking_neuron=node, **cnf,
                     **NODES))  # fmt: skip


def plif(size, kind=Mean):
    """The network of the paper on parametric LIF, its linear layers for smaller images."""
    net = zoo("parametric_lif_net").CIFAR10DVSNet(16, neuron.ParametricLIFNode, **NODES)
    net.conv_fc[-6] = layer.Linear(16 * (size // 16) ** 2, 512)
    return kind(net)


def vgg():
    module = zoo("spiking_vgg")
    net = module.SpikingVGG(
        [16, "M", 16, "M", 32], batch_norm=True, norm_layer=layer.BatchNorm2d, num_classes=10,
        spiking_neuron=neuron.LIFNode, **NODES,
    )  # fmt: skip
    net.classifier[0] = layer.Linear(32 * 7 * 7, 64)
    net.classifier[3] = layer.Linear(64, 64)
    net.classifier[6] = layer.Linear(64, 10)
    return Mean(net)


FAMILIES = {
    "SEW-ResNet": (lambda: resnet(zoo("sew_resnet")), IMAGE),
    "SEW-ResNet, IAND": (lambda: resnet(zoo("sew_resnet"), "IAND"), IMAGE),
    "Spiking-ResNet": (lambda: resnet(zoo("spiking_resnet")), IMAGE),
    "PLIF net": (lambda: plif(16), VIDEO),
    "PLIF net, batch first": (lambda: plif(32, BatchFirst), (1, T, 2, 32, 32)),
    "spiking VGG": (vgg, (T, 1, 3, 28, 28)),
    "Spikformer": (
        lambda: zoo("spikformer").Spikformer(
            T=T, img_size_h=16, img_size_w=16, patch_size=4, in_channels=3, num_classes=10,
            embed_dims=32, num_heads=4, mlp_ratio=2.0, depths=2),
        SMALL,
    ),
    "Spike-driven Transformer, an image": (
        lambda: zoo("spike_driven_transformer").SpikeDrivenTransformer(
            T=T, num_classes=10, embed_dims=64, num_heads=4, depths=2, mlp_ratio=2.0,
            pooling_stat="0011"),
        SMALL[1:],
    ),
    "QKFormer, tokens": (
        lambda: zoo("qkformer").QKFormer(
            T=T, num_classes=10, embed_dims=64, num_heads=(2, 2, 4), depths=(1, 1, 1),
            mlp_ratio=2.0),
        IMAGE,
    ),
    "QKFormer, channels": (
        lambda: zoo("qkformer").QKFormer(
            T=T, num_classes=10, embed_dims=64, num_heads=(2, 2, 4), depths=(1, 1, 1),
            mlp_ratio=2.0, qka_type="channel"),
        IMAGE,
    ),
    "Max-Former": (
        lambda: zoo("maxformer").MaxFormer(T=T, num_classes=10, embed_dims=64, depths=(1, 1, 1)),
        IMAGE,
    ),
}  # fmt: skip


def calibrated(make, shape):
    """The network, with the statistics of BatchNorm that random frames give."""
    torch.manual_seed(0)
    net = make().train()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.momentum = None
            nn.init.uniform_(part.bias, 0.8, 1.6)
        elif isinstance(part, nn.Linear):  # without BatchNorm, untrained ones hardly make one fire
            part.weight.data *= 8
    with torch.no_grad():
        for _ in range(2):
            functional.reset_net(net)
            net(torch.rand(shape))
    functional.reset_net(net)
    return net.eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_compiled_classes_are_the_original_networks(family, tmp_path):
    make, shape = FAMILIES[family]
    net = calibrated(make, shape)
    apply_recipe(net, {"*": "4u"})
    path = tmp_path / "net.onnx"
    frames = [torch.round(255 * torch.rand(shape)) / 255 for _ in range(4)]
    export(net, frames, path)
    found = hqc.verify(path, "host")
    assert found.ok, found
    artifact = hqc.compile(path, target="host", output=tmp_path / "build")
    assert plain_share(artifact.manifest["kernels"]) <= 0.05
    model = load_model(path)
    watched = [n.outputs[0].name for n in model.graph if n.op_type == "LIF"]
    name, wanted = model.graph.inputs[0].name, model.graph.inputs[0].shape.numpy()
    rates = np.zeros(len(watched))
    for x in frames:
        functional.reset_net(net)
        with torch.no_grad():
            expected = net(x).numpy()
        given = np.broadcast_to(x.numpy().reshape(-1, 1, *wanted[2:]), wanted)
        logits = artifact.run(given)
        np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())
        # Votes have ties, which float32 decides by how it rounds.
        assert expected.reshape(-1)[logits.argmax()] > expected.max() - 1e-6
        rates += [s.mean() for s in run_reference(model, {name: given.copy()}, watched)[1:]]
    assert rates.min() > 0, "a layer is silent"
