"""Greedy search after training: one layer at a time to fewer bits, the cheapest first."""

from __future__ import annotations

from torch import nn

from hqc.data.task import Task
from hqc.search.method import Options, method
from hqc.search.post_training import CHOICES, PostTraining
from hqc.search.run_folder import RunFolder


@method("greedy", CHOICES)
def greedy(model: nn.Module, task: Task, options: Options, run: RunFolder) -> dict:
    """Lower precisions step by step while accuracy lasts.

    From every layer's highest precision, the step tried next is the one whose membrane potentials
    drift least for each bit saved (measured for the layer alone, on a few recordings). It is kept
    if the network then loses no more than `options.tolerance`; if not, the layer stays as it is.
    """
    search = PostTraining(model, task, options, run)
    space, trial = search.space, search.trial
    recipe = {name: choices[0] for name, choices in space.items()}
    alone = [(name, choice) for name in search.free for choice in space[name]]
    found = search.candidates.drifts([dict([pair]) for pair in alone])
    drifts = dict(zip(alone, found, strict=True))

    def cost(name: str) -> float:
        """Drift for each bit that the layer's next step saves."""
        before, after = recipe[name], following[name]
        saved = search.bits({name: before}) - search.bits({name: after})
        return (drifts[name, after] - drifts[name, before]) / saved

    following = {name: space[name][1] for name in search.free}
    while following:
        name = min(following, key=cost)
        choice = following.pop(name)
        drop = trial.drop({**recipe, name: choice})
        run.progress(f"{name} at {choice} loses {drop:.3f}")
        if drop > options.tolerance:
            continue
        recipe[name] = choice
        if rest := space[name][space[name].index(choice) + 1 :]:
            following[name] = rest[0]
    return search.finish(recipe)
