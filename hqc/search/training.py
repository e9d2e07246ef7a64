"""Training loops that can be interrupted after any epoch and go on as if nothing had happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hqc.data.task import Labelled, Part, Task
from hqc.search import distributed
from hqc.search.device import device_of
from hqc.search.method import Options
from hqc.search.run_folder import RunFolder

LABEL_SMOOTHING = 0.1
FLOAT_RATE = 2e-3
_SHORTEST_CYCLE = 10
"""Steps of a one-cycle schedule below which torch divides by zero."""
SCALE_RATE = 1 / 50
"""Learning rate of quantizers' scales over that of weights: Adam's steps are all of one size."""


@torch.no_grad()
def accuracy(model: nn.Module, data: Labelled, batch: int = 50) -> float:
    """Share of recordings classified right; every process runs a part of them."""
    was_training = model.training
    model.eval()
    frames, labels = data
    device = device_of(model)
    right = 0
    for start in distributed.part(range(0, len(labels), batch)):
        x = frames[start : start + batch].float().transpose(0, 1).to(device)
        right += int((model(x).argmax(1).cpu() == labels[start : start + batch]).sum())
    model.train(was_training)
    return distributed.total(right) / len(labels)


def batches(
    task: Task, data: Labelled, size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch of varied batches [T, N, ...] in random order; a short last one is left out.

    Of several processes each gets its share.
    """
    frames, labels = data
    order = torch.randperm(len(labels), generator=generator)
    for chosen in order[: max(len(labels) // size, 1) * size].split(size):
        x = task.vary(frames[chosen].float().transpose(0, 1), generator)
        yield distributed.share(x, labels[chosen])


def split(data: Labelled, seed: int) -> tuple[Labelled, Labelled]:
    """Four fifths and one fifth of the recordings, at random."""
    frames, labels = data
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    cut = max(len(labels) * 4 // 5, 1)
    first, second = order[:cut], order[cut:] if cut < len(labels) else order
    return (Part(frames, first), labels[first]), (Part(frames, second), labels[second])


def task_loss(model: nn.Module, x: Tensor, y: Tensor, *, mixed_precision: bool = False) -> Tensor:
    """Cross entropy with smoothed labels; with bfloat16 products and sums if asked for."""
    device = device_of(model)
    x, y = x.to(device), y.to(device)
    with torch.autocast(device.type, torch.bfloat16) if mixed_precision else nullcontext():
        logits = model(x)
    return F.cross_entropy(logits.float(), y, label_smoothing=LABEL_SMOOTHING)


def weight_optimizer(model: nn.Module, rate: float, steps: int) -> tuple:
    """AdamW over weights and scales, with a one-cycle schedule; choices' logits are left out."""
    named = [(n, p) for n, p in model.named_parameters() if not n.endswith("logits")]
    scales = [p for n, p in named if n.endswith("scale")]
    others = [p for n, p in named if not n.endswith("scale")]
    groups = [{"params": others, "weight_decay": 0.01}, {"params": scales, "weight_decay": 0.0}]
    groups = [g for g in groups if g["params"]]
    optimizer = torch.optim.AdamW(groups)
    rates = [rate, rate * SCALE_RATE][: len(groups)]
    cycle = max(steps, _SHORTEST_CYCLE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, cycle, pct_start=0.2)
    return optimizer, schedule


def run_stage(
    run: RunFolder,
    stage: str,
    epochs: int,
    stateful: dict[str, Any],
    generator: torch.Generator,
    epoch_step: Callable[[int], dict],
) -> None:
    """Call `epoch_step` for every epoch; log what it returns; checkpoint after each.

    `stateful` are the model, optimizers and schedules that a resumed run is to find as they were.
    """
    start = 0
    saved = run.load("checkpoint")
    if saved is not None and saved["stage"] == stage:
        start = saved["epoch"]
        for name, thing in stateful.items():
            thing.load_state_dict(saved[name])
        torch.set_rng_state(saved["random"])
        generator.set_state(saved["generator"])
    for epoch in range(start, epochs):
        began = time.monotonic()
        metrics = epoch_step(epoch)
        seconds = time.monotonic() - began
        shown = ", ".join(f"{k} {v:.3f}" for k, v in metrics.items() if isinstance(v, float))
        run.progress(f"{stage} {epoch + 1}/{epochs}: {shown}, {seconds:.0f} s")
        run.log(stage, epoch, **metrics)
        states = {name: thing.state_dict() for name, thing in stateful.items()}
        random = {"random": torch.get_rng_state(), "generator": generator.get_state()}
        run.save("checkpoint", {"stage": stage, "epoch": epoch + 1, **states, **random})


def fit(
    model: nn.Module,
    task: Task,
    run: RunFolder,
    stage: str,
    epochs: int,
    rate: float,
    options: Options,
    seed: int,
) -> None:
    """Train the weights of a model, as one stage of a run; skip it if it is done."""
    done = run.load(stage)
    if done is not None:
        model.load_state_dict(done)
        return
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    steps = max(len(task.train[1]) // options.batch, 1)
    optimizer, schedule = weight_optimizer(model, rate, max(epochs * steps, 1))

    trained = distributed.parallel(model)

    def epoch_step(_epoch: int) -> dict:
        model.train()
        total = 0.0
        for x, y in batches(task, task.train, options.batch, generator):
            loss = task_loss(trained, x, y, mixed_precision=options.mixed_precision)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() / steps
        return {"loss": distributed.mean(total)}

    stateful = {"model": model, "optimizer": optimizer, "schedule": schedule}
    run_stage(run, stage, epochs, stateful, generator, epoch_step)
    run.save(stage, model.state_dict())
