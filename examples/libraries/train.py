"""Train a network of networks.py on N-MNIST, on one thread, within minutes.

    python examples/libraries/train.py snntorch_net DIR -o examples/libraries/snntorch_net.pt

DIR holds Train/<digit>/*.bin and Test/<digit>/*.bin.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import networks
import torch

from hqc.data.augment import shifted
from hqc.data.nmnist import load

TIME_STEPS, BATCH = 8, 50


def accuracy(net: torch.nn.Module, frames: torch.Tensor, labels: torch.Tensor) -> float:
    """The part of recordings [N, T, ...] that are classified as their labels say."""
    with torch.no_grad():
        found = networks.rates(net.eval(), frames.transpose(0, 1).float()).argmax(1)
    return (found == labels).float().mean().item()


def main() -> None:
    """Train, say how well at the end, and save the weights."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("network", choices=sorted(networks.NETWORKS))
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=300, help="stop after this many")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()

    torch.set_num_threads(1)
    generator = torch.manual_seed(asked.seed)
    task = load(asked.data, TIME_STEPS)
    frames, labels = task.train
    net = networks.NETWORKS[asked.network]()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, asked.epochs)
    start = time.monotonic()
    for epoch in range(asked.epochs):
        net.train()
        total = 0.0
        for batch in torch.randperm(len(labels)).split(BATCH):
            shown = shifted(frames[batch].transpose(0, 1).float(), generator, pixels=2)
            # Rates from 0 to 1 say little to a softmax: it sees them ten times as large.
            loss = torch.nn.functional.cross_entropy(10 * networks.rates(net, shown), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        schedule.step()
        seconds = time.monotonic() - start
        print(f"epoch {epoch + 1}: loss {total / len(labels):.3f}, {seconds:.0f} s", flush=True)
        if seconds > asked.seconds:
            break
    print(f"accuracy on the test recordings: {accuracy(net, *task.test):.2%}")
    state = {name: value for name, value in net.state_dict().items() if not name.endswith("mem")}
    torch.save(state, asked.output)


if __name__ == "__main__":
    main()
