"""Train the demo's Spikformer on N-MNIST, in float and then with its recipe, and export both.

    python examples/nmnist/train.py --data DIR        # DIR holds Train/<digit>/*.bin, Test/...

Writes fp32.onnx and model.onnx beside this file, or into --output. Two CPU cores take about a
quarter of an hour.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path

import torch
from tonic.io import read_mnist_file
from torch import Tensor
from torch.nn import functional as F

from hqc.data.events import EVENT, events_to_frames
from hqc.frontend.export import export
from hqc.models.spikformer import Spikformer
from hqc.quantize import apply_recipe, average_bits

TIME_STEPS, SIZE = 8, 34
HERE = Path(__file__).parent
RECIPE = json.loads((HERE / "recipe.json").read_text())


def load(folder: Path) -> tuple[Tensor, Tensor]:
    """Every recording below `folder/<digit>/`: frames uint8 [n, T, 2, H, W] and digits [n]."""
    files = sorted(folder.glob("[0-9]/*.bin"))
    frames = [
        events_to_frames(read_mnist_file(str(f), EVENT), TIME_STEPS, SIZE, SIZE) for f in files
    ]
    return torch.tensor(frames), torch.tensor([int(f.parent.name) for f in files])


def shifted(frames: Tensor, generator: torch.Generator, pixels: int = 3) -> Tensor:
    """The batch [T, N, ...], each recording moved by up to `pixels` in x and y."""
    moves = torch.randint(-pixels, pixels + 1, (frames.shape[1], 2), generator=generator)
    padded = F.pad(frames, (pixels,) * 4)
    return torch.stack(
        [
            padded[:, i, :, pixels + y : pixels + y + SIZE, pixels + x : pixels + x + SIZE]
            for i, (y, x) in enumerate(moves.tolist())
        ],
        1,
    )


@torch.no_grad()
def accuracy(model: torch.nn.Module, frames: Tensor, digits: Tensor) -> float:
    """Share of recordings classified right."""
    model.eval()
    batches = zip(frames.split(50), digits.split(50), strict=True)
    right = sum((model(x.float().transpose(0, 1)).argmax(1) == y).sum() for x, y in batches)
    return int(right) / len(digits)


def fit(model: torch.nn.Module, train, test, epochs: int, rate: float, seed: int) -> None:
    """AdamW with a one-cycle schedule on label-smoothed cross entropy, batches of 32."""
    generator = torch.Generator().manual_seed(seed)
    frames, digits = train
    steps = epochs * (len(digits) // 32)
    # Adam's steps are of one size; a quantizer's scale needs smaller ones.
    scales = [p for n, p in model.named_parameters() if n.endswith("scale")]
    others = [p for n, p in model.named_parameters() if not n.endswith("scale")]
    rates = [rate, rate / 50]
    groups = [
        {"params": others, "weight_decay": 0.01},
        {"params": scales, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups[: 2 if scales else 1])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rates[: len(optimizer.param_groups)], steps, pct_start=0.2
    )
    for epoch in range(epochs):
        model.train()
        start, total = time.time(), 0.0
        order = torch.randperm(len(digits), generator=generator)
        for batch in order[: len(digits) // 32 * 32].split(32):
            x = shifted(frames[batch].float().transpose(0, 1), generator)
            loss = F.cross_entropy(model(x), digits[batch], label_smoothing=0.1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * 32 / len(digits)
        note = f", test {accuracy(model, *test):.2%}" if epoch % 5 == 4 else ""
        print(f"epoch {epoch + 1}/{epochs}: loss {total:.3f}{note}, {time.time() - start:.0f} s")


def main() -> None:
    """Train, quantize, export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with Train/ and Test/")
    parser.add_argument("--epochs", type=int, default=36)
    parser.add_argument("--quantized-epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--from-checkpoint", type=Path, help="skip the float training")
    parser.add_argument("--output", type=Path, default=HERE)
    parser.add_argument("--checkpoints", type=Path, default=Path("runs/nmnist"))
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    args.checkpoints.mkdir(parents=True, exist_ok=True)
    train, test = load(args.data / "Train"), load(args.data / "Test")
    model = Spikformer()
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters} parameters, {len(train[1])} training and {len(test[1])} test recordings")
    if args.from_checkpoint:
        model.load_state_dict(torch.load(args.from_checkpoint))
    else:
        fit(model, train, test, args.epochs, 2e-3, args.seed)
        torch.save(model.state_dict(), args.checkpoints / "fp32.pt")
    print(f"fp32: {accuracy(model, *test):.2%}")

    quantized = apply_recipe(copy.deepcopy(model), RECIPE)
    fit(quantized, train, test, args.quantized_epochs, 1e-3, args.seed + 6)
    torch.save(quantized.state_dict(), args.checkpoints / "quantized.pt")
    bits = average_bits(model, RECIPE)
    print(f"quantized: {accuracy(quantized, *test):.2%} at {bits:.2f} bits a weight on average")

    example = test[0][:1].transpose(0, 1).float()
    events = {"kind": "events", "time_steps": TIME_STEPS, "height": SIZE, "width": SIZE}
    for network, name in ((model, "fp32.onnx"), (quantized, "model.onnx")):
        export(network, example, args.output / name, name="nmnist", preprocessing=events)


if __name__ == "__main__":
    main()
