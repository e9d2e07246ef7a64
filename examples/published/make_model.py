"""Export a network of published size, untrained, that fires in every layer.

    python examples/published/make_model.py meta_spikeformer_31m -o build-31m
    hqc verify build-31m/model.onnx

Weights are random; BatchNorm and thresholds are set on real images, CIFAR-10's enlarged. A network
for events, of two channels, takes red and green.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch

from hqc.data.pixels import image_to_frames
from hqc.frontend.export import export
from hqc.models import meta_spikeformer, spike_driven, spikformer
from hqc.models.layers import calibrate_batch_norm
from hqc.models.lif import LIF, integrate
from hqc.quantize import apply_recipe
from hqc.quantize.recipe import quantizable_layers

IMAGES = Path(__file__).parents[1] / "cifar10" / "sample"
NETWORKS = {
    name: make
    for module in (meta_spikeformer, spike_driven, spikformer)
    for name, make in vars(module).items()
    if name.startswith(module.__name__.split(".")[-1] + "_")
}
QUIET = 0.7
"""The share of positive membrane potentials that stay below the threshold."""


def fit_threshold(layer: LIF, inputs: tuple[torch.Tensor]) -> None:
    """Set a threshold that the larger of the potentials reach."""
    potentials, _ = integrate(
        *inputs, layer.tau, layer.v_threshold, layer.v_reset, layer.decay_input
    )
    positive = potentials[potentials > 0]
    layer.v_threshold = float(np.quantile(positive.numpy(), QUIET))


@torch.no_grad()
def firing_rates(model: torch.nn.Module, frames: torch.Tensor) -> list[float]:
    """The firing rate of every layer of neurons, in evaluation."""
    rates: list[float] = []
    layers = [module for module in model.modules() if isinstance(module, LIF)]
    hooks = [
        layer.register_forward_hook(lambda _layer, _x, spikes: rates.append(float(spikes.mean())))
        for layer in layers
    ]
    model.eval()(frames)
    for hook in hooks:
        hook.remove()
    return rates


@click.command()
@click.argument("network", type=click.Choice(sorted(NETWORKS)))
@click.option("--size", default=224, show_default=True, help="Height and width of the images.")
@click.option("--time-steps", default=1, show_default=True)
@click.option("--images", default=4, show_default=True, help="Images to set the network on.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def main(network: str, size: int, time_steps: int, images: int, output: Path) -> None:
    """Write OUTPUT/model.onnx, and two of the images as OUTPUT/sample."""
    torch.manual_seed(0)
    model = apply_recipe(NETWORKS[network](), {"head*": "8u", "*": "4u"})
    files = sorted(IMAGES.rglob("*.png"))
    files = files[:: len(files) // images][:images]
    frames = np.stack([image_to_frames(file, time_steps, size, size) for file in files], 1)
    channels = next(iter(quantizable_layers(model).values())).weight.shape[1]
    frames = torch.from_numpy(frames[:, :, :channels]).float()
    layers = [module for module in model.modules() if isinstance(module, LIF)]
    hooks = [layer.register_forward_pre_hook(fit_threshold) for layer in layers]
    calibrate_batch_norm(model, frames)
    for hook in hooks:
        hook.remove()
    rates = firing_rates(model, frames)
    click.echo(f"{len(rates)} layers of neurons, firing rates {min(rates):.2%} to {max(rates):.2%}")
    (output / "sample").mkdir(parents=True, exist_ok=True)
    export(model, frames[:, :1], output / "model.onnx", name=network)
    for i in range(2):
        np.save(output / "sample" / f"{i}.npy", frames[:, i : i + 1].numpy())


if __name__ == "__main__":
    main()
