"""SpikeHQ: each layer's quantizer by differentiable architecture search, then training with it."""

from __future__ import annotations

import copy
from itertools import cycle

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hqc.data.task import Task
from hqc.energy.count_module import count_module
from hqc.energy.overhead import Overhead
from hqc.quantize import apply_recipe
from hqc.quantize.recipe import Choice, quantizable_layers, quantizer
from hqc.search import distributed
from hqc.search.method import Options, method, search_space
from hqc.search.metrics import read_metrics
from hqc.search.plots import draw_probabilities, draw_weights
from hqc.search.result import counted_frames, describe, weights_of
from hqc.search.results import RECIPE, RESULT, read_result
from hqc.search.run_folder import RunFolder
from hqc.search.training import (
    FLOAT_RATE,
    batches,
    fit,
    run_stage,
    split,
    task_loss,
    weight_optimizer,
)
from hqc.targets import load_profile

SEARCH_RATE, CHOICE_RATE, TRAIN_RATE = 5e-4, 0.1, 1e-3
WARMEST, COLDEST = 5.0, 0.5
"""Temperature of the Gumbel-softmax at the first and the last epoch of the search."""


class MixedWeight(nn.Module):
    """A weight as the mixture of its quantized versions, one of each choice.

    In training the mixing probabilities are a Gumbel-softmax sample of the logits (Jang et al.
    2017); in evaluation the likeliest choice counts alone.
    """

    def __init__(self, choices: list[Choice], weight: Tensor) -> None:
        super().__init__()
        self.temperature = WARMEST
        self.logits = nn.Parameter(torch.zeros(len(choices), device=weight.device))
        found = [quantizer(choice, weight) for choice in choices]
        for module in filter(None, found):
            module.calibrate(weight)
        self.quantizers = nn.ModuleList(module or nn.Identity() for module in found)

    def forward(self, weight: Tensor) -> Tensor:
        if not self.training:
            return self.quantizers[int(self.logits.argmax())](weight)
        # Drawn by the processor, whatever the device: a search resumed or moved sees the same.
        noise = -torch.empty(len(self.logits)).exponential_().log().to(self.logits)
        shares = ((self.logits + noise) / self.temperature).softmax(0)
        return sum(p * q(weight) for p, q in zip(shares, self.quantizers, strict=True))


@method("spikehq", ("2u", "4u", "2l", "4l", "fp32"))
def spikehq(model: nn.Module, task: Task, options: Options, run: RunFolder) -> dict:
    """Train in float, search, fix the choices, train with quantization.

    Bi-level, of first order: on batches of the training split weights follow the task's loss; on
    batches of the validation split, a fifth of the training recordings, the choices' logits follow
    task + beta * (energy + storage) / 2, both relative to fp32 and expected over probabilities.
    """
    space = search_space(model, options)
    fit(model, task, run, "float", options.float_epochs, FLOAT_RATE, options, options.seed)
    float_model = copy.deepcopy(model)
    if run.load("search") is None:
        recipe = _search(copy.deepcopy(model), space, task, options, run)
        run.write_json(RECIPE, recipe)
        run.save("search", {})
    recipe = read_result(run.path, RECIPE)
    apply_recipe(model, recipe)
    fit(model, task, run, "train", options.train_epochs, TRAIN_RATE, options, options.seed + 2)
    run.draw("probabilities.svg", draw_probabilities, read_metrics(run.path))
    run.draw("weights.svg", draw_weights, weights_of(float_model), weights_of(model), recipe)
    result = describe(model, float_model, recipe, task, options)
    run.write_json(RESULT, result)
    return result


def _search(
    model: nn.Module,
    space: dict[str, list[Choice]],
    task: Task,
    options: Options,
    run: RunFolder,
) -> dict[str, Choice]:
    frames = counted_frames(task, model)
    counts = count_module(model, frames)
    layers = quantizable_layers(model)
    mixtures = {}
    for name, choices in space.items():
        mixtures[name] = MixedWeight(choices, layers[name].weight.detach())
        parametrize.register_parametrization(layers[name], "weight", mixtures[name])
    every = list(dict.fromkeys(c for choices in space.values() for c in choices))
    overhead = Overhead(counts, every, load_profile(options.profile), frames.shape[0])

    def probabilities() -> Tensor:
        """Probabilities [layers, every choice], as `overhead` orders them."""
        rows = []
        for name in overhead.layers:
            shares = mixtures[name].logits.softmax(0)
            columns = [space[name].index(c) if c in space[name] else -1 for c in every]
            zero = shares.new_zeros(())
            rows.append(torch.stack([shares[i] if i >= 0 else zero for i in columns]))
        return torch.stack(rows)

    torch.manual_seed(options.seed + 1)
    generator = torch.Generator().manual_seed(options.seed + 1)
    train, validation = split(task.train, options.seed)
    steps = max(len(train[1]) // options.batch, 1)
    optimizer, schedule = weight_optimizer(
        model, SEARCH_RATE, max(options.search_epochs * steps, 1)
    )
    logits = [mixture.logits for mixture in mixtures.values()]
    trained = distributed.parallel(model)
    chooser = torch.optim.Adam(logits, CHOICE_RATE, betas=(0.5, 0.999))

    def epoch_step(epoch: int) -> dict:
        model.train()
        progress = epoch / max(options.search_epochs - 1, 1)
        for mixture in mixtures.values():
            mixture.temperature = WARMEST * (COLDEST / WARMEST) ** progress
        lists = list(batches(task, validation, options.batch, generator))
        losses = {"loss": 0.0, "choice_loss": 0.0}
        for (x, y), (vx, vy) in zip(
            batches(task, train, options.batch, generator), cycle(lists), strict=False
        ):
            loss = task_loss(trained, x, y, mixed_precision=options.mixed_precision)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            energy, storage = overhead(probabilities())
            validation_loss = task_loss(trained, vx, vy, mixed_precision=options.mixed_precision)
            choice_loss = validation_loss + options.beta * (energy + storage) / 2
            chooser.zero_grad(set_to_none=True)
            choice_loss.backward()
            chooser.step()
            losses["loss"] += loss.item() / steps
            losses["choice_loss"] += choice_loss.item() / steps
        shares = {
            name: dict(zip(space[name], m.logits.softmax(0).tolist(), strict=True))
            for name, m in mixtures.items()
        }
        with torch.no_grad():
            energy, storage = overhead(probabilities())
        losses = {name: distributed.mean(value) for name, value in losses.items()}
        hardware = {"energy": float(energy), "storage": float(storage)}
        return {**losses, **hardware, "probabilities": shares}

    stateful = {"model": model, "optimizer": optimizer, "schedule": schedule, "chooser": chooser}
    run_stage(run, "search", options.search_epochs, stateful, generator, epoch_step)
    return {name: space[name][int(m.logits.argmax())] for name, m in mixtures.items()}
