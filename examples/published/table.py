"""The networks of the field, laid out as their authors' code has them, compiled and compared.

    python examples/published/table.py                          # all, small, as a table
    python examples/published/table.py qkformer-cifar10 --published --target host

BatchNorm is calibrated on real recordings, so that every layer fires; weights are random, 4 bits.
The classes of compiled code are compared with the module's own, on CIFAR-10 or N-MNIST recordings.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
import torch
from spikingjelly.activation_based import functional
from torch import nn

import hqc
from hqc.data.pixels import image_to_frames
from hqc.data.recordings import Recording, read_recordings
from hqc.dialect.integer_lif import NEURONS
from hqc.errors import UserError
from hqc.frontend.export import export
from hqc.frontend.load import load_model
from hqc.manifest import plain_share
from hqc.quantize import apply_recipe
from hqc.reference import run_reference
from hqc.verification import run_compiled

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

Make = Callable[[bool], tuple[nn.Module, tuple[int, ...]]]


def networks() -> dict[str, Make]:
    """Every network of `networks/`, by name."""
    found: dict[str, Make] = {}
    for file in pkgutil.iter_modules([str(HERE / "networks")]):
        found |= importlib.import_module(f"networks.{file.name}").NETWORKS
    return found


def recordings(shape: tuple[int, ...], count: int) -> list[torch.Tensor]:
    """Images of CIFAR-10, or events of N-MNIST for networks of two channels, between 0 and 1.

    All are multiples of 1 / 255, so that the quantizer of the input changes nothing.
    """
    *_, channels, height, width = shape
    examples = HERE.parent
    if channels == 3:
        files = sorted((examples / "cifar10" / "sample").rglob("*.png"))[:count]
        frames = [image_to_frames(f, 1, height, width)[0] / 255 for f in files]
        return [torch.from_numpy(f).float().expand(shape).clone() for f in frames]
    steps = int(np.prod(shape[:-3]))
    folder = examples / "nmnist" / "sample"
    binned = {"kind": "events", "time_steps": steps, "height": 34, "width": 34}
    events = read_recordings(folder, (steps, 1, 2, 34, 34), binned, count)
    made = []
    for recording in events:
        x = torch.from_numpy(recording.frames[:, 0]).float()
        x = nn.functional.adaptive_max_pool2d(x, (height, width)).clamp(max=5) / 5
        made.append(x.reshape(shape))
    return made


def prepared(make: Make, small: bool, images: int) -> tuple[nn.Module, list[torch.Tensor]]:
    """A network that fires in every layer, and recordings of its shape."""
    torch.manual_seed(0)
    net, shape = make(small)
    frames = recordings(shape, images)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            part.momentum = None
            nn.init.uniform_(part.bias, 0.8, 1.6)
    net.train()
    with torch.no_grad():
        for x in frames[:4]:
            functional.reset_net(net)
            net(x)
    functional.reset_net(net)
    return apply_recipe(net.eval(), {"*": "4u"}), frames


def answer(net: nn.Module, x: torch.Tensor) -> np.ndarray:
    """The module's own logits."""
    functional.reset_net(net)
    with torch.no_grad():
        return net(x).numpy()


@dataclass
class Row:
    """What was found of a network; `apart` is how far its logits are from the module's."""

    name: str
    parameters: int
    neurons: int = 0
    rates: tuple[float, float] = (0.0, 0.0)
    bits: float = 0.0
    milliseconds: float = 0.0
    arena: int = 0
    plain: float = 0.0
    apart: float = 0.0
    explained: bool = False
    same: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        low, high = self.rates
        cells = [
            self.name,
            f"{self.parameters:,}",
            str(self.neurons),
            f"{low:.2f} to {high:.2f}",
            f"{self.bits:.2f}",
            f"{self.arena / 1024:,.0f}",
            f"{self.milliseconds:.2f}",
            f"{100 * self.plain:.1f}",
            "yes" if self.explained else "no",
            *self.same.values(),
        ]
        return "| " + " | ".join(cells) + " |"


def measured(
    name: str, make: Make, targets: list[str], small: bool, images: int, folder: Path
) -> Row:
    """Export, verify and compile a network, and compare its classes. Raises `UserError`."""
    net, frames = prepared(make, small, images)
    row = Row(name, sum(p.numel() for p in net.parameters()))
    path = folder / "net.onnx"
    export(net, frames[:4], path)
    row.explained = hqc.verify(path, "host").ok
    model = load_model(path)
    given, shape = model.graph.inputs[0].name, tuple(model.graph.inputs[0].shape.numpy())
    fed = [np.broadcast_to(_in_steps(x, shape), shape).copy() for x in frames]
    watched = [n.outputs[0].name for n in model.graph if n.op_type in NEURONS]
    spikes = [run_reference(model, {given: x}, watched)[1:] for x in fed[:4]]
    rates = np.mean([[s.mean() for s in layers] for layers in spikes], 0)
    row.neurons, row.rates = len(rates), (rates.min(), rates.max())
    wanted = [answer(net, x) for x in frames]
    for target in targets:
        artifact = hqc.compile(path, target=target, output=folder / target)
        runs = [Recording(f"{i}", x, None) for i, x in enumerate(fed)]
        logits = run_compiled(artifact, runs)
        right = sum(_same(a, b) for a, b in zip(wanted, logits, strict=True))
        row.same[target] = f"{right}/{len(fed)}"
        if target == "host":
            row.bits = artifact.manifest["average_bits"]
            row.arena = artifact.manifest["memory"]["arena_bytes"]
            row.milliseconds = _milliseconds(artifact, fed[0])
            row.apart = max(_apart(a, b) for a, b in zip(wanted, logits, strict=True))
            row.plain = plain_share(artifact.manifest["kernels"])
    return row


def _in_steps(x: torch.Tensor, shape: tuple[int, ...]) -> np.ndarray:
    return x.numpy().reshape(-1, 1, *shape[2:])


def _same(wanted: np.ndarray, logits: np.ndarray) -> bool:
    """Whether the class is the module's; of classes that are equal in float32, any is."""
    wanted = wanted.reshape(-1, wanted.shape[-1]).sum(0)
    logits = logits.reshape(-1, wanted.size).sum(0)
    return bool(wanted[logits.argmax()] >= wanted.max() - 1e-5 * np.abs(wanted).max())


def _apart(wanted: np.ndarray, logits: np.ndarray) -> float:
    """The largest difference of logits, as a part of the largest."""
    difference = np.abs(wanted.reshape(-1) - logits.reshape(-1)).max()
    return float(difference / np.abs(wanted).max())


def _milliseconds(artifact: hqc.Artifact, x: np.ndarray) -> float:
    took = []
    for _ in range(9):
        start = time.perf_counter()
        artifact.run(x)
        took.append(time.perf_counter() - start)
    return 1000 * float(np.median(took))


@click.command()
@click.argument("names", nargs=-1)
@click.option("--target", "targets", multiple=True, default=["host", "arm-a72", "cortex-m7"])
@click.option("--published", is_flag=True, help="Of the published size; else small.")
@click.option("--images", default=32, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Keep models and builds.")
def main(names: tuple[str, ...], targets: list[str], published: bool, images: int, output) -> None:
    """Print a table of NAMES, or of all networks."""
    torch.set_num_threads(1)
    found = networks()
    columns = ["network", "parameters", "layers of neurons", "spikes a neuron and step", "bits"]
    columns += [
        "arena, KiB",
        "ms on the host",
        "plain, %",
        "explained",
        *(f"same on {t}" for t in targets),
    ]
    click.echo("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for name in names or found:
        with tempfile.TemporaryDirectory() as temporary:
            folder = (output or Path(temporary)) / name
            folder.mkdir(parents=True, exist_ok=True)
            try:
                click.echo(str(measured(name, found[name], list(targets), not published, images,
                                        folder)))  # fmt: skip
            except UserError as error:
                click.echo(f"| {name} | refused: {error} |")


if __name__ == "__main__":
    main()
