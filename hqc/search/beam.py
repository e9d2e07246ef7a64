"""Beam search after training: several assignments at once, layer by layer."""

from __future__ import annotations

from torch import nn

from hqc.data.task import Task
from hqc.search.method import Options, method
from hqc.search.post_training import CHOICES, PostTraining
from hqc.search.run_folder import RunFolder

_PASSED = 2
"""Assignments, as multiples of the beam's width, whose accuracy is measured in each layer."""


@method("beam", CHOICES)
def beam(model: nn.Module, task: Task, options: Options, run: RunFolder) -> dict:
    """Keep the `options.beam` best assignments while layers, the largest first, get their bits.

    Layers not reached yet are at their highest precision. A gate that costs a few recordings, the
    drift of membrane potentials for all bits left, passes on the most promising assignments; of
    those whose accuracy, then measured, drops by no more than `options.tolerance`, the ones with
    the fewest bits go on.
    """
    search = PostTraining(model, task, options, run)
    space = search.space
    kept = [{name: choices[0] for name, choices in space.items()}]
    layers = sorted(search.free, key=search.weights, reverse=True)
    for number, name in enumerate(layers, 1):
        extended = [{**recipe, name: choice} for recipe in kept for choice in space[name]]
        drifts = search.candidates.drifts(extended)
        costs = [search.bits(r) * (1 + d) for r, d in zip(extended, drifts, strict=True)]
        gated = [extended[i] for i in sorted(range(len(extended)), key=costs.__getitem__)]
        measured = gated[: _PASSED * options.beam]
        drops = search.candidates.drops(measured)
        unharmed = [r for r, d in zip(measured, drops, strict=True) if d <= options.tolerance]
        kept = sorted(unharmed or kept, key=search.bits)[: options.beam]
        run.progress(f"layer {number}/{len(layers)}: {name}, {search.bits(kept[0])} bits")
    return search.finish(kept[0])
