"""Suite: trained examples, and networks of published size that fire as a trained one does."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hqc.bench.peer import DEFAULT_PEERS
from hqc.bench.suite.suite import Case, Make, Suite, examples
from hqc.bench.suite.trained import (
    SPIKFORMER,
    STREAM,
    UNTRAINED,
    Kinds,
    Trained,
    read_trained,
)

if TYPE_CHECKING:
    from torch import nn

SPIKE_DRIVEN: Kinds = {
    "tokenizer.spiking.0.*": "first",
    "tokenizer.*": "tokenizer",
    "*.q.*": "q",
    "*.k.*": "k",
    "*.v.*": "v",
    "*.attention_lif": "attention",
    "*.proj": "proj",
    "*.mlp.expand.conv": "mlp.0",
    "*.mlp.project.conv": "mlp.1",
    "*.attention.lif": STREAM,
    "*.mlp.expand.lif": STREAM,
    "*.mlp.project.lif": "mlp.0",
    "head.lif": STREAM,
    "head.linear": "head",
}
"""The kinds of Spike-driven Transformer, where neurons come before the layer."""

META_SPIKEFORMER: Kinds = {
    "stages.0.conv": "first",
    "*.mixer.expand.conv": "mlp.0",
    "*.mixer.depthwise": "tokenizer",
    "*.mixer.project": "mlp.1",
    "*.mixer.expand.lif": STREAM,
    "*.mixer.lif": "mlp.0",
    "*.proj.*": "proj",
    "stages.?.lif": STREAM,
    "stages.??.lif": STREAM,
    "stages.?.conv": "tokenizer",
    "stages.??.conv": "tokenizer",
    **SPIKE_DRIVEN,
}
"""The kinds of Meta-SpikeFormer; its first two stages are separable convolutions."""

SEW_RESNET: Kinds = {
    "net.conv1": "first",
    "net.sn1": "first",
    "net.fc": "head",
    "*": "tokenizer",
}
"""The kinds of SEW-ResNet: all its convolutions are as a tokenizer's."""


@cache
def trained() -> Trained:
    """The trained network that others are fitted to."""
    return read_trained(examples() / "cifar10")


def example(name: str) -> Make:
    """A trained network, as it lies in `examples/`."""
    return lambda folder: examples() / name / "model.onnx"


def built(
    make: Callable[[], nn.Module],
    kinds: Kinds,
    steps: int,
    size: int,
    most: float = 255,
    like: Callable[[], Trained] = trained,
) -> Make:
    """A network of images `size` x `size` from 0 to `most`, fitted to what `like` gives."""

    def write(folder: Path) -> Path:
        import torch

        from hqc.bench.suite import fitted

        torch.manual_seed(0)
        torch.set_num_threads(1)
        shape = (steps, 1, 3, size, size)
        frames = fitted.images(examples() / "cifar10" / "sample", shape, most)
        fit = fitted.fit(make(), frames, fitted.Like(like(), kinds))
        return fitted.write(fit, frames, folder, "model")

    return write


def spikformer() -> nn.Module:
    """Spikformer-4-384, for CIFAR-10."""
    from hqc.models.spikformer import spikformer_4_384

    return spikformer_4_384()


def spike_driven() -> nn.Module:
    """Spike-driven Transformer 8-384, for ImageNet."""
    from hqc.models.spike_driven import spike_driven_8_384

    return spike_driven_8_384()


def meta_spikeformer() -> nn.Module:
    """Meta-SpikeFormer of 15.1 million parameters, for ImageNet."""
    from hqc.models.meta_spikeformer import meta_spikeformer_15m

    return meta_spikeformer_15m()


def sew_resnet() -> nn.Module:
    """SpikingJelly's SEW-ResNet18, as its model zoo builds it."""
    import spikingjelly.activation_based.neuron as neuron

    file = examples() / "published" / "networks" / "model_zoo.py"
    spec = importlib.util.spec_from_file_location("model_zoo", file)
    model_zoo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(model_zoo)
    make = model_zoo.resnet("sew_resnet", "SEWResNet", neuron.IFNode, cnf="ADD")
    return make(False)[0]


SPEED = Suite(
    "speed",
    [
        Case("nmnist", "examples/nmnist, trained", example("nmnist")),
        Case("cifar10", "examples/cifar10, trained", example("cifar10")),
        Case(
            "spikformer-4-384",
            "Spikformer-4-384, T = 4, 32 x 32",
            built(spikformer, SPIKFORMER, 4, 32),
        ),
        Case(
            "spikformer-4-384-untrained",
            "the same at 4 bits, firing as untrained networks do",
            built(spikformer, SPIKFORMER, 4, 32, like=lambda: UNTRAINED),
        ),
        Case(
            "sew-resnet18",
            "SpikingJelly's SEW-ResNet18, T = 4, 64 x 64",
            built(sew_resnet, SEW_RESNET, 4, 64, 1.0),
        ),
        Case(
            "spike-driven-8-384",
            "Spike-driven Transformer 8-384, T = 4, 224 x 224",
            built(spike_driven, SPIKE_DRIVEN, 4, 224),
        ),
        Case(
            "meta-spikeformer-15m",
            "Meta-SpikeFormer-15M, T = 1, 224 x 224",
            built(meta_spikeformer, META_SPIKEFORMER, 1, 224),
        ),
    ],
    peers=DEFAULT_PEERS,
)
