"""SpikingJelly's own model zoo, as it builds its networks.

Their steps are all given at once, and their classes of every step are averaged, as its training
code does.
"""

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from contextlib import contextmanager

from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn

T = 3
NODES = {"surrogate_function": surrogate.ATan(), "detach_reset": True}

Found = tuple[nn.Module, tuple[int, ...]]


@contextmanager
def torchvision():
    """What the zoo imports of torchvision, to load weights that nothing here loads."""
    names = ("torchvision", "torchvision.models", "torchvision.models.utils")
    if importlib.util.find_spec("torchvision") is not None:
        yield
        return
    modules = {name: types.ModuleType(name) for name in names}
    modules[names[-1]].load_state_dict_from_url = None
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def zoo(name: str) -> types.ModuleType:
    """A module of the zoo."""
    with torchvision():
        return importlib.import_module(f"spikingjelly.activation_based.model.{name}")


class Mean(nn.Module):
    """Classes of every step -> their mean."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        functional.set_step_mode(net, "m")
        for part in net.modules():
            if isinstance(
                part, nn.Linear
            ):  # without BatchNorm, untrained ones hardly make one fire
                part.weight.data *= 8
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Frames [T, N, C, H, W] -> classes [N, classes]."""
        return self.net(x).mean(0)


class BatchFirst(Mean):
    """Frames [N, T, C, H, W], as data loaders of event cameras give them."""

    def forward(self, x: Tensor) -> Tensor:
        """Frames -> classes [N, classes]."""
        return super().forward(x.permute(1, 0, 2, 3, 4))


def resnet(name: str, kind: str, node: type, **settings: object) -> Callable[[bool], Found]:
    """A ResNet of basic blocks: 18 layers, or one block a stage."""

    def make(small: bool) -> Found:
        module = zoo(name)
        blocks, size = ([1, 1, 1, 1], 32) if small else ([2, 2, 2, 2], 224)
        net = getattr(module, kind)(
            module.BasicBlock, blocks, num_classes=10, spiking_neuron=node, **settings, **NODES
        )
        return Mean(net), (T, 1, 3, size, size)

    return make


def plif(batch_first: bool) -> Callable[[bool], Found]:
    """The network of the paper on parametric LIF, its linear layers for smaller images."""

    def make(small: bool) -> Found:
        channels, size = (16, 32 if batch_first else 16) if small else (128, 128)
        net = zoo("parametric_lif_net").CIFAR10DVSNet(channels, neuron.ParametricLIFNode, **NODES)
        net.conv_fc[-6] = layer.Linear(channels * (size // 16) ** 2, 512)
        if batch_first:
            return BatchFirst(net), (1, T, 2, size, size)
        return Mean(net), (T, 1, 2, size, size)

    return make


def vgg(small: bool) -> Found:
    """VGG-11, or three convolutions and narrow linear layers."""
    module = zoo("spiking_vgg")
    layers = [16, "M", 16, "M", 32]
    if not small:
        layers = [64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"]
    net = module.SpikingVGG(
        layers, batch_norm=True, norm_layer=layer.BatchNorm2d, num_classes=10,
        spiking_neuron=neuron.LIFNode, **NODES,
    )  # fmt: skip
    if small:
        net.classifier[0] = layer.Linear(32 * 7 * 7, 64)
        net.classifier[3] = layer.Linear(64, 64)
        net.classifier[6] = layer.Linear(64, 10)
    size = 28 if small else 224
    return Mean(net), (T, 1, 3, size, size)


def spikformer(small: bool) -> Found:
    """Of its CIFAR-10 size, 4-384, or two blocks of 32 channels."""
    size = 16 if small else 32
    width, heads, depths, ratio = (32, 4, 2, 2.0) if small else (384, 12, 4, 4.0)
    net = zoo("spikformer").Spikformer(
        T=T, img_size_h=size, img_size_w=size, patch_size=4, in_channels=3, num_classes=10,
        embed_dims=width, num_heads=heads, mlp_ratio=ratio, depths=depths,
    )  # fmt: skip
    return Mean(net), (T, 1, 3, size, size)


def spike_driven(small: bool) -> Found:
    """An image, which the network repeats itself."""
    size = 16 if small else 32
    width, heads, ratio = (64, 4, 2.0) if small else (256, 8, 4.0)
    net = zoo("spike_driven_transformer").SpikeDrivenTransformer(
        T=T, num_classes=10, embed_dims=width, num_heads=heads, depths=2, mlp_ratio=ratio,
        pooling_stat="0011",
    )  # fmt: skip
    return Mean(net), (1, 3, size, size)


def qkformer(kind: str) -> Callable[[bool], Found]:
    """With token or channel attention in its first stages."""

    def make(small: bool) -> Found:
        width, heads, ratio = (64, (2, 2, 4), 2.0) if small else (384, (6, 6, 6), 4.0)
        net = zoo("qkformer").QKFormer(
            T=T, num_classes=10, embed_dims=width, num_heads=heads, depths=(1, 1, 1),
            mlp_ratio=ratio, qka_type=kind,
        )  # fmt: skip
        return Mean(net), (T, 1, 3, 32, 32)

    return make


def maxformer(small: bool) -> Found:
    """Of 64 channels, or 384."""
    net = zoo("maxformer").MaxFormer(
        T=T, num_classes=10, embed_dims=64 if small else 384, depths=(1, 1, 1)
    )
    return Mean(net), (T, 1, 3, 32, 32)


NETWORKS = {
    "zoo-sew-resnet": resnet("sew_resnet", "SEWResNet", neuron.IFNode, cnf="ADD"),
    "zoo-sew-resnet-iand": resnet("sew_resnet", "SEWResNet", neuron.IFNode, cnf="IAND"),
    "zoo-spiking-resnet": resnet("spiking_resnet", "SpikingResNet", neuron.LIFNode),
    "zoo-plif": plif(batch_first=False),
    "zoo-plif-batch-first": plif(batch_first=True),
    "zoo-vgg": vgg,
    "zoo-spikformer": spikformer,
    "zoo-spike-driven": spike_driven,
    "zoo-qkformer-token": qkformer("token"),
    "zoo-qkformer-channel": qkformer("channel"),
    "zoo-maxformer": maxformer,
}
