"""SpikingJelly's Spikformer through torch's own exporter, then the two commands of a stranger.

    python examples/published/stock_export.py IMAGES                   # 2-256
    python examples/published/stock_export.py IMAGES --size 4-384 --loop

IMAGES are JPEG or PNG files of 32 x 32, below a folder. Weights are random and BatchNorm is
calibrated on 64 of the images, so that every layer fires; what is counted is on how many images the
class is the one that SpikingJelly itself gives. Prints tables in Markdown.
"""

from __future__ import annotations

import io
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import click
import numpy as np
import torch
from spikingjelly.activation_based import functional, neuron
from torch import Tensor, nn

import hqc
from hqc.classes import class_of
from hqc.data.recordings import Preprocessing, Recording, read_recordings
from hqc.dialect import DIALECT
from hqc.frontend.load import load_model
from hqc.post_training.quantize import Asked, quantize
from hqc.reference import ReferenceSession
from hqc.verification import run_compiled

sys.path.insert(0, str(Path(__file__).parent))

from networks.model_zoo import zoo

T, SIZE = 4, 32
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
SIZES = {"2-256": (2, 256, 8), "4-384": (4, 384, 12)}
BATCH = 20
SLOW = 20
"""Images that are run in onnxruntime without optimizations, and under an emulator."""


class Mean(nn.Module):
    """Classes of every step, all at once -> their mean."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        """[1, 3, 32, 32] -> [1, 10]."""
        return self.net(image).mean(0)


class Loop(Mean):
    """The network called for every step, its neurons remembering."""

    def forward(self, image: Tensor) -> Tensor:
        """[1, 3, 32, 32] -> [1, 10]."""
        self.net.T = 1
        total = self.net(image)[0]
        for _ in range(T - 1):
            total = total + self.net(image)[0]
        return total / T


def build(size: str, images: Tensor, loop: bool) -> nn.Module:
    """The zoo's network, its BatchNorm calibrated on images."""
    depth, width, heads = SIZES[size]
    torch.manual_seed(0)
    net = zoo("spikformer").Spikformer(
        T=T, img_size_h=SIZE, img_size_w=SIZE, patch_size=4, in_channels=3, num_classes=10,
        embed_dims=width, num_heads=heads, mlp_ratio=4.0, depths=depth,
    )  # fmt: skip
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None
            module.reset_running_stats()
    with torch.no_grad():
        for part in images.split(16):
            functional.reset_net(net)
            net(part)
    return (Loop if loop else Mean)(net).eval()


def own_classes(net: nn.Module, images: Tensor) -> tuple[list[int], dict[str, float]]:
    """The class of every image, as the library gives it, and every layer's mean firing rate."""
    fired: dict[str, list[float]] = {}

    def keep(name: str) -> Callable:
        return lambda _module, _inputs, spikes: fired.setdefault(name, []).append(
            spikes.mean().item()
        )

    nodes = [(n, m) for n, m in net.named_modules() if isinstance(m, neuron.BaseNode)]
    hooks = [m.register_forward_hook(keep(n)) for n, m in nodes]
    classes: list[int] = []
    with torch.no_grad():
        for some in images.split(BATCH):
            functional.reset_net(net)
            classes += net(some).argmax(-1).tolist()
    for hook in hooks:
        hook.remove()
    functional.reset_net(net)
    return classes, {name: float(np.mean(rates)) for name, rates in fired.items()}


def rates_of(path: Path, recordings: Sequence[Recording]) -> dict[str, float]:
    """Mean firing rates of a model's layers of neurons in onnxruntime, on some recordings."""
    model = load_model(path)
    neurons = [n for n in model.graph if (n.domain, n.op_type) == (DIALECT, "LIF")]
    session = ReferenceSession(model, [n.outputs[0].name for n in neurons])
    name = model.graph.inputs[0].name
    found = [[s.mean() for s in session.run({name: r.frames})[1:]] for r in recordings]
    return dict(zip((n.name for n in neurons), np.mean(found, 0).tolist(), strict=True))


class Clock:
    """The seconds of every step."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str]] = []

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Time what is done inside."""
        start = time.perf_counter()
        yield
        self.rows.append((what, f"{time.perf_counter() - start:.1f}"))


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--size", type=click.Choice(list(SIZES)), default="2-256")
@click.option("--loop", is_flag=True, help="Call the network for every step, in a loop.")
@click.option("--images", "count", default=1000, help="How many images to compare on.")
def main(folder: Path, size: str, loop: bool, count: int) -> None:
    """Export, quantize, compile and compare with the library's own output."""
    warnings.simplefilter("ignore")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    preprocessing = Preprocessing("image", MEAN, STD)
    shape = (T, 1, 3, SIZE, SIZE)
    recordings = read_recordings(folder, shape, preprocessing.of(shape), count)
    images = torch.cat([torch.tensor(r.frames[0]) for r in recordings])
    net = build(size, images[:64], loop)
    clock = Clock()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        exported = work / "float.onnx"
        functional.reset_net(net)
        with clock.step("`torch.onnx.export`"), redirect_stdout(io.StringIO()):
            torch.onnx.export(net, (images[:1],), exported, verbose=False)
        with clock.step("reading it: neurons and loops raised"):
            model = load_model(exported)
        found = [n for n in model.graph if (n.domain, n.op_type) == (DIALECT, "LIF")]
        modules = [m for m in net.modules() if isinstance(m, neuron.BaseNode)]
        print(f"{len(found)} LIF for {len(modules)} nodes of the module\n")
        with clock.step(f"SpikingJelly on {count} images, {BATCH} at once"):
            own, _ = own_classes(net, images)
        few = [recordings[i] for i in range(min(SLOW, count))]
        _, rates = own_classes(net, images[:SLOW])
        columns = {"SpikingJelly": rates, "float": rates_of(exported, few)}
        session, name = ReferenceSession(model), model.graph.inputs[0].name
        logits = [session.run({name: r.frames})[0] for r in few]
        same = [class_of(x, 10) == c for x, c in zip(logits, own, strict=False)]
        rows: list[tuple] = [("float, raised", "onnxruntime", f"{sum(same)}/{len(few)}")]
        for bits in (8, 4):
            path = work / f"{bits}.onnx"
            asked = Asked("uniform", (f"{bits}u",), limit=count)
            with clock.step(f"`hqc quantize --bits {bits}`, measured on {count} images"):
                quantize(exported, path, folder, asked, preprocessing=preprocessing)
            columns[f"{bits} bits"] = rates_of(path, few)
            for target, part in (("host", recordings), ("arm-a72", few)):
                with clock.step(f"`hqc compile --target {target}`, {bits} bits"):
                    artifact = hqc.compile(path, target, work / f"{bits}-{target}")
                with clock.step(f"running it on {len(part)} images, {target}, {bits} bits"):
                    logits = run_compiled(artifact, part)
                same = [class_of(x, 10) == c for x, c in zip(logits, own, strict=False)]
                rows.append((bits, target, f"{sum(same)}/{len(part)}"))
    table(("bits", "target", "the class of SpikingJelly's own output"), rows)
    table(("step", "seconds"), clock.rows)
    layers = [(name, *(f"{c.get(name, np.nan):.4f}" for c in columns.values())) for name in rates]
    table(("layer", *columns), layers)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows in Markdown."""
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(map(str, row)) + " |")
    print()


if __name__ == "__main__":
    main()
